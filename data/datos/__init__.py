"""Home-insurance claims, from what the sources send to what a model is trained on."""
