"""Tests of the host are written in the words of the engine's."""

from tests.engine.conftest import bench

__all__ = ["bench"]
