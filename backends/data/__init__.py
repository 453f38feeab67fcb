"""The built-in catalogue as data: providers by hand, models made by ``tools/build_catalogue.py``."""
