"""Where what runs came from, and what came of it: read from what the steps left on each thing, each time anew.

`graph` is what was found, `resolve` follows the links, `world` asks the systems, `show` prints.
"""
