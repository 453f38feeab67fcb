"""Who can be called, with which models, at which prices: typed files, an administrator's changes to them,
and the catalogue that comes of both. Start reading at :mod:`backends.catalogue.loading`."""

from backends.catalogue.files import CatalogueError, Provider, read_models, read_providers
from backends.catalogue.loading import Catalogue, check_url, find_hosts, load_catalogue

__all__ = [
    "Catalogue",
    "CatalogueError",
    "Provider",
    "check_url",
    "find_hosts",
    "load_catalogue",
    "read_models",
    "read_providers",
]
