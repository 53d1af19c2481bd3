"""The large reconstruction model of PRM and InstantMesh: a mesh from a few views of an object."""
