"""Train the model of `paquete/`, measure it, and compare it with the one that is in use."""
