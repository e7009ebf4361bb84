"""What all end-to-end tests share. They need root; without it they fail, and say so."""

import os

import pytest

from hosts import Bridged, Hosts, remove_leftovers


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: no other test runs at the same time")
    config.addinivalue_line("markers", "peers: of the matrix of docs/peers.md, which ./dev test peers runs")


@pytest.fixture(scope="session", autouse=True)
def machine():
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests make network namespaces: run them as root", returncode=1)
    remove_leftovers()


@pytest.fixture
def hosts():
    """Two fresh hosts, "client" and "server"; see hosts.py."""
    with Hosts() as pair:
        yield pair


@pytest.fixture
def bridged():
    """The same with a machine in the wire, for Bridge; the kernel's offloads are on."""
    with Bridged(offloads=True) as hosts:
        yield hosts
