"""The model's REST service. ``python3 -m servicio`` runs it; the README says what each module does."""
