from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.tests.meshes.gltf_maker import SQUARE, TRIANGLE, Maker, png, textured_triangle, triangle


def read(maker: Maker) -> Mesh:
    return read_mesh(maker.glb(), "glb")


def close(actual: torch.Tensor, expected: object, tolerance: float = 1e-6) -> bool:
    return torch.allclose(actual.double(), torch.tensor(expected, dtype=torch.float64), atol=tolerance)


def test_triangle_without_indices() -> None:
    mesh = read(triangle()[0])
    assert close(mesh.vertices, TRIANGLE)
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert mesh.materials == () and mesh.uv is None and mesh.normals is None


@pytest.mark.parametrize(("mode", "faces"), [(5, [[0, 1, 2], [1, 3, 2]]), (6, [[0, 1, 2], [0, 2, 3]])])
def test_strips_and_fans_keep_their_winding(mode: int, faces: list[list[int]]) -> None:
    maker = Maker()
    maker.primitive(SQUARE, range(4), mode=mode)
    assert read(maker).faces.tolist() == faces


def test_lines_and_points_are_left_out() -> None:
    maker, _ = triangle()
    maker.primitive(SQUARE, mode=1)
    maker.primitive(SQUARE, mode=0)
    assert read(maker).vertices.shape == (3, 3)


def test_hierarchy_is_applied_in_order() -> None:
    maker, _ = triangle()
    half = math.sqrt(0.5)
    maker.root["nodes"] = [
        {"children": [1], "translation": [10.0, 0.0, 0.0]},
        {"children": [2], "rotation": [0.0, 0.0, half, half]},  # a quarter turn around Z: X becomes Y
        {"mesh": 0, "matrix": [2.0, 0, 0, 0, 0, 2.0, 0, 0, 0, 0, 2.0, 0, 1.0, 0, 0, 1.0]},
    ]
    assert close(read(maker).vertices, [(10, 1, 0), (10, 3, 0), (8, 1, 0)])


def test_mirroring_turns_faces_and_keeps_normals_outward() -> None:
    maker, primitive = triangle()
    primitive["attributes"]["NORMAL"] = maker.accessor([(0.0, 0.0, 1.0)] * 3)
    primitive["attributes"]["TANGENT"] = maker.accessor([(1.0, 0.0, 0.0, 1.0)] * 3)
    maker.root["nodes"][0]["scale"] = [-2.0, 1.0, 3.0]
    mesh = read(maker)
    assert mesh.normals is not None and mesh.tangents is not None
    assert close(mesh.normals, [(0, 0, 1)] * 3)
    assert close(mesh.tangents, [(-1, 0, 0, -1)] * 3)
    assert float(mesh.face_normals()[0, 2]) > 0


def test_normals_go_by_the_inverse_transpose() -> None:
    maker, primitive = triangle()
    slope = 1 / math.sqrt(2)
    primitive["attributes"]["NORMAL"] = maker.accessor([(slope, slope, 0.0)] * 3)
    maker.root["nodes"][0]["scale"] = [4.0, 1.0, 1.0]
    expected = np.array((0.25, 1.0, 0.0)) / math.hypot(0.25, 1.0)
    normals = read(maker).normals
    assert normals is not None and close(normals[0], expected.tolist())


def test_instances_and_scenes() -> None:
    maker, _ = triangle()
    maker.primitive(SQUARE, range(3), mesh=1)
    maker.root["nodes"] = [{"mesh": 0}, {"mesh": 0, "translation": [5.0, 0, 0]}, {"mesh": 1}]
    maker.root["scenes"] = [{"nodes": [2]}, {"nodes": [0, 1]}]
    maker.root["scene"] = 1
    assert read(maker).faces.shape[0] == 2
    maker.root["scene"] = 0
    assert read(maker).vertices.shape[0] == 4


def test_without_scenes_all_roots_count() -> None:
    maker, _ = triangle()
    maker.root["nodes"] = [{"children": [1]}, {"mesh": 0}, {"mesh": 0}]
    del maker.root["scenes"], maker.root["scene"]
    assert read(maker).faces.shape[0] == 2


def test_sparse_values_replace_rows() -> None:
    maker, primitive = triangle()
    position = maker.root["accessors"][primitive["attributes"]["POSITION"]]
    position["sparse"] = {
        "count": 1,
        "indices": {"bufferView": maker.view(np.array([2], "<u2").tobytes()), "componentType": 5123},
        "values": {"bufferView": maker.view(np.array([0, 7, 0], "<f4").tobytes())},
    }
    assert close(read(maker).vertices, [(0, 0, 0), (1, 0, 0), (0, 7, 0)])


def test_sparse_without_base_starts_from_zeros() -> None:
    maker, primitive = triangle()
    position = maker.root["accessors"][primitive["attributes"]["POSITION"]]
    del position["bufferView"]
    position["sparse"] = {
        "count": 2,
        "indices": {"bufferView": maker.view(bytes([1, 2])), "componentType": 5121},
        "values": {"bufferView": maker.view(np.array([(1, 0, 0), (0, 1, 0)], "<f4").tobytes())},
    }
    assert close(read(maker).vertices, TRIANGLE)


def test_interleaved_attributes() -> None:
    maker = Maker()
    rows = np.zeros((3, 6), "<f4")
    rows[:, :3], rows[:, 3:] = TRIANGLE, (0, 0, 1)
    view = maker.view(rows.tobytes(), byteStride=24)
    shared = {"bufferView": view, "componentType": 5126, "count": 3, "type": "VEC3"}
    maker.root["accessors"] = [shared, {**shared, "byteOffset": 12}]
    maker.root["meshes"][0]["primitives"] = [{"attributes": {"POSITION": 0, "NORMAL": 1}}]
    mesh = read(maker)
    assert mesh.normals is not None
    assert close(mesh.vertices, TRIANGLE) and close(mesh.normals, [(0, 0, 1)] * 3)


def test_quantised_attributes() -> None:
    maker = Maker()
    maker.root["extensionsRequired"] = ["KHR_mesh_quantization"]
    attributes = {
        "POSITION": maker.accessor([(0, 0, 0), (100, 0, 0), (0, 100, 0)], "i2"),
        "NORMAL": maker.accessor([(0, 0, 127)] * 3, "i1", normalized=True),
        "TEXCOORD_0": maker.accessor([(0, 0), (65535, 0), (0, 32768)], "u2", normalized=True),
        "COLOR_0": maker.accessor([(255, 0, 51, 255)] * 3, "u1", normalized=True),
    }
    maker.root["meshes"][0]["primitives"] = [{"attributes": attributes}]
    maker.root["nodes"][0]["scale"] = [0.01, 0.01, 0.01]
    mesh = read(maker)
    assert mesh.normals is not None and mesh.uv is not None and mesh.colors is not None
    assert close(mesh.vertices, TRIANGLE)
    assert close(mesh.normals[0], (0, 0, 1))
    assert close(mesh.uv, [(0, 0), (1, 0), (0, 32768 / 65535)])
    assert close(mesh.colors[0], (1, 0, 0.2, 1))


def test_missing_and_zero_normals_are_computed() -> None:
    maker, primitive = triangle()
    primitive["attributes"]["NORMAL"] = maker.accessor([(0.0, 0.0, 0.0)] * 3)
    normals = read(maker).normals
    assert normals is not None and close(normals, [(0, 0, 1)] * 3)


def test_materials_by_primitive_share_one_vertex_block() -> None:
    maker = Maker()
    first = maker.primitive(SQUARE, (0, 1, 2), material=1)
    second = maker.primitive(SQUARE, (1, 3, 2), material=0)
    second["attributes"] = first["attributes"]
    maker.root["materials"] = [{"name": "a"}, {"name": "b", "doubleSided": True}, {"name": "unused"}]
    mesh = read(maker)
    assert mesh.vertices.shape[0] == 4
    assert [material.name for material in mesh.materials] == ["b", "a"]
    assert mesh.face_material is not None and mesh.face_material.tolist() == [0, 1]
    assert mesh.materials[0].double_sided and not mesh.materials[1].double_sided


def test_all_material_fields() -> None:
    maker, _ = textured_triangle()
    orm, occlusion = maker.texture(png((9, 100, 200))), maker.texture(png((30, 0, 0), size=4))
    normal, emissive = maker.texture(png((128, 128, 255))), maker.texture(png((1, 2, 3)))
    maker.root["materials"] = [
        {
            "name": "all",
            "pbrMetallicRoughness": {
                "baseColorFactor": [0.1, 0.2, 0.3, 0.4],
                "metallicFactor": 0.5,
                "roughnessFactor": 0.6,
                "baseColorTexture": {"index": 0},
                "metallicRoughnessTexture": {"index": orm},
            },
            "occlusionTexture": {"index": occlusion, "strength": 0.7},
            "normalTexture": {"index": normal, "scale": 0.8},
            "emissiveTexture": {"index": emissive},
            "emissiveFactor": [1.0, 0.5, 0.0],
            "alphaMode": "MASK",
            "alphaCutoff": 0.25,
            "doubleSided": False,
            "extensions": {"KHR_materials_unlit": {}, "KHR_materials_emissive_strength": {"emissiveStrength": 4.0}},
        }
    ]
    material = read(maker).materials[0]
    assert material.name == "all"
    assert material.base_color_factor == (0.1, 0.2, 0.3, 0.4)
    assert (material.metallic_factor, material.roughness_factor) == (0.5, 0.6)
    assert (material.normal_scale, material.occlusion_strength) == (0.8, 0.7)
    assert material.emissive_factor == (4.0, 2.0, 0.0)
    assert (material.alpha_mode, material.alpha_cutoff) == ("MASK", 0.25)
    assert not material.double_sided and material.unlit and material.repeat and material.has_occlusion
    assert material.orm_texture is not None and material.orm_texture.shape == (4, 4, 3)
    assert material.orm_texture[0, 0].tolist() == [30, 100, 200]
    assert material.base_color_texture is not None and material.base_color_texture[0, 0].tolist() == [255, 0, 0]
    assert material.normal_texture is not None and material.normal_texture[0, 0].tolist() == [128, 128, 255]
    assert material.emissive_texture is not None and material.emissive_texture[0, 0].tolist() == [1, 2, 3]


def test_metallic_defaults_to_one_only_where_a_material_says_so() -> None:
    maker, _ = triangle(material=0)
    maker.root["materials"] = [{}]
    assert read(maker).materials[0].metallic_factor == 1.0


def test_texture_transform_and_uv_set() -> None:
    maker, primitive = textured_triangle()
    primitive["attributes"]["TEXCOORD_1"] = maker.accessor([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)])
    transform = {"offset": [0.0, 1.0], "rotation": math.pi / 2, "scale": [0.5, 0.5], "texCoord": 1}
    slot = {"index": 0, "extensions": {"KHR_texture_transform": transform}}
    maker.root["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": slot}}]
    uv = read(maker).uv  # the extension's own example: the lower left quadrant, turned clockwise
    assert uv is not None and close(uv, [(0, 1), (0, 0.5), (0.5, 0.5)])


def test_materials_that_place_their_textures_otherwise_share_no_uv() -> None:
    maker, primitive = textured_triangle()
    shifted = {"index": 0, "extensions": {"KHR_texture_transform": {"offset": [0.5, 0.0]}}}
    plain, second = maker.root["materials"][0], {"pbrMetallicRoughness": {"baseColorTexture": shifted}}
    maker.root["materials"] = [plain, second, {}]
    primitive["material"] = 2
    maker.root["meshes"][0]["primitives"] += [{**primitive, "material": 0}, {**primitive, "material": 1}]
    mesh = read(maker)
    assert mesh.uv is not None and mesh.face_material is not None and len(mesh.vertices) == 6
    untextured, first, moved = mesh.uv[mesh.faces]
    assert torch.equal(untextured, first) and close(moved - first, [(0.5, 0.0)] * 3)
    assert mesh.materials[int(mesh.face_material[2])].base_color_texture is not None


def test_mirrored_wrap_becomes_a_doubled_texture() -> None:
    maker, _ = textured_triangle()
    pixels = np.array([[(255, 0, 0), (0, 255, 0)]], np.uint8)
    texture = maker.texture(png(pixels), wrapS=33648, wrapT=33071)
    maker.root["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}}]
    mesh = read(maker)
    image = mesh.materials[0].base_color_texture
    assert image is not None and image[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 255, 0], [255, 0, 0]]
    assert mesh.uv is not None and close(mesh.uv, [(0, 0), (0.5, 0), (0, 1)])


def test_a_texture_that_lies_otherwise_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    maker, primitive = textured_triangle()
    primitive["attributes"]["TEXCOORD_1"] = maker.accessor([(0.0, 0.0)] * 3)
    maker.root["materials"][0]["emissiveTexture"] = {"index": 0, "texCoord": 1}
    material = read(maker).materials[0]
    assert material.emissive_texture is None and material.base_color_texture is not None
    assert "emissiveTexture" in caplog.text


def test_clamp_to_edge() -> None:
    maker, _ = textured_triangle()
    maker.root["samplers"] = [{"wrapS": 33071, "wrapT": 33071}]
    maker.root["textures"][0]["sampler"] = 0
    assert not read(maker).materials[0].repeat


@pytest.mark.parametrize(
    ("diffuse", "specular", "base", "metallic"),
    [
        ((0.5, 0.4, 0.3), (0.04, 0.04, 0.04), (0.5, 0.4, 0.3), 0.0),  # a dielectric keeps its colour
        ((0.0, 0.0, 0.0), (1.0, 0.8, 0.3), (1.0, 0.8, 0.3), 1.0),  # a metal shows its specular colour
    ],
)
def test_specular_glossiness(diffuse: tuple, specular: tuple, base: tuple, metallic: float) -> None:
    maker, _ = triangle(material=0)
    glossy = {"diffuseFactor": [*diffuse, 0.5], "specularFactor": list(specular), "glossinessFactor": 0.7}
    maker.root["materials"] = [{"extensions": {"KHR_materials_pbrSpecularGlossiness": glossy}}]
    maker.root["extensionsRequired"] = ["KHR_materials_pbrSpecularGlossiness"]
    material = read(maker).materials[0]
    assert material.base_color_factor == pytest.approx((*base, 0.5), abs=0.01)
    assert material.metallic_factor == pytest.approx(metallic, abs=0.02)
    assert material.roughness_factor == pytest.approx(0.3)


def test_specular_glossiness_textures_agree_with_factors() -> None:
    maker, _ = textured_triangle()
    specular = maker.texture(png((255, 255, 255, 128)))
    glossy = {
        "diffuseTexture": {"index": 0},
        "diffuseFactor": [0.0, 0.0, 0.0, 1.0],
        "specularFactor": [0.5, 0.5, 0.5],
        "specularGlossinessTexture": {"index": specular},
    }
    maker.root["materials"] = [{"extensions": {"KHR_materials_pbrSpecularGlossiness": glossy}}]
    textured = read(maker).materials[0]
    plain, _ = triangle(material=0)
    factors = {"diffuseFactor": [0.0, 0.0, 0.0, 1.0], "specularFactor": [0.5, 0.5, 0.5], "glossinessFactor": 128 / 255}
    plain.root["materials"] = [{"extensions": {"KHR_materials_pbrSpecularGlossiness": factors}}]
    expected = read(plain).materials[0]
    assert textured.orm_texture is not None and textured.base_color_texture is not None
    _, roughness, metallic = (textured.orm_texture[0, 0].double() / 255).tolist()
    assert metallic == pytest.approx(expected.metallic_factor, abs=3e-3)
    assert roughness == pytest.approx(expected.roughness_factor, abs=3e-3)
    srgb = textured.base_color_texture[0, 0, 0].item() / 255
    assert ((srgb + 0.055) / 1.055) ** 2.4 == pytest.approx(expected.base_color_factor[0], abs=0.01)


def test_skinned_meshes_stand_where_their_joints_put_them() -> None:
    maker, primitive = triangle()
    primitive["attributes"]["JOINTS_0"] = maker.accessor([(0, 1, 0, 0)] * 3, "u1")
    primitive["attributes"]["WEIGHTS_0"] = maker.accessor([(1, 0, 0, 0), (0, 1, 0, 0), (0.5, 0.5, 0, 0)])
    inverse = [np.eye(4), np.eye(4)]
    inverse[1][3, 0] = -1.0  # row 3 of the stored column-major matrix: the translation
    maker.root["skins"] = [{"joints": [1, 2], "inverseBindMatrices": maker.accessor(np.reshape(inverse, (2, 16)))}]
    maker.root["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [99.0, 0.0, 0.0]},  # ignored, as glTF rules
        {"translation": [0.0, 0.0, 5.0]},
        {"translation": [1.0, 2.0, 0.0]},
    ]
    maker.root["scenes"] = [{"nodes": [0, 1, 2]}]
    assert close(read(maker).vertices, [(0, 0, 5), (1, 2, 0), (0, 2, 2.5)])


def test_far_coordinates_keep_their_detail() -> None:
    maker, _ = triangle()
    maker.root["nodes"][0]["translation"] = [4e6, -2e6, 1e6]
    mesh = read(maker)
    assert close(mesh.vertices - mesh.vertices[0], TRIANGLE)
    world = mesh.vertices.double() @ mesh.transform[:3, :3].T + mesh.transform[:3, 3]
    assert close(world[1], (4e6 + 1, -2e6, 1e6))


def test_embedded_gltf() -> None:
    maker, _ = textured_triangle()
    maker.glb()
    root = json.loads(json.dumps(maker.root))
    root["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(maker.binary).decode()
    root["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(png((7, 8, 9))).decode()}]
    mesh = read_mesh(json.dumps(root).encode())
    image = mesh.materials[0].base_color_texture
    assert mesh.faces.shape == (1, 3)
    assert image is not None and image[0, 0].tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("extension", "word"),
    [
        ("KHR_draco_mesh_compression", "Draco"),
        ("EXT_meshopt_compression", "meshopt"),
        ("KHR_texture_basisu", "Basis"),
        ("EXT_mesh_gpu_instancing", "instancing"),
    ],
)
def test_compression_is_refused_by_name(extension: str, word: str) -> None:
    maker, _ = triangle()
    maker.root["extensionsRequired"] = [extension]
    with pytest.raises(Bundle3DError, match=word):
        read(maker)
