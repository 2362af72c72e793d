"""Makes an int8 bundle from an fp32 one.

    quantize.py BUNDLE TARGET [--alias NAME]…     a model bundle, as the service has it, into a new folder
    quantize.py --network FP32.onnx INT8.onnx     one network alone

ONNX Runtime's dynamic quantisation: weights of matrix products become signed 8-bit integers with a scale for
each output channel, activations become unsigned 8-bit integers with a scale for each run. Weights use 7 of their
8 bits: x86-64 processors without AVX-512 VNNI add two products in 16 bits, which larger ones overflow.
Convolutions, token and position embeddings, normalisations and the products within attention stay fp32; so does
everything a HEF does.

The new bundle has the name of its folder and none of the old one's aliases: its embeddings are not the same
vectors, and must not be compared with stored ones of the fp32 model.
"""

import argparse
import hashlib
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import onnx
import yaml
from onnxruntime.quantization import QuantType, quantize_dynamic

# What the service asks of a bundle's name.
NAME = "abcdefghijklmnopqrstuvwxyz0123456789"
# Smaller weights stay within the ONNX file.
EXTERNAL = 1024
OPERATORS = ["MatMul", "Gemm"]
QUANTISED = ("MatMulInteger", "ConvInteger", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


def is_quantised(network):
    return any(node.op_type in QUANTISED for node in network.graph.node)


def quantise(source, target, external):
    """Quantises the network `source`; its weights go beside `target` if `external`."""
    if is_quantised(onnx.load(source, load_external_data=False)):
        sys.exit(f"{source} is quantised already; start from the fp32 model")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        folder = Path(folder)
        # onnx reads no weights through links, which bundles may have.
        for file in (source, *source.parent.glob(f"{source.name}.data"), *source.parent.glob(f"{source.name}_data")):
            shutil.copyfile(file, folder / file.name)
        made = folder / "int8.onnx"
        quantize_dynamic(
            folder / source.name, made, op_types_to_quantize=OPERATORS, per_channel=True,
            weight_type=QuantType.QInt8, reduce_range=True, use_external_data_format=external,
        )
        network = onnx.load(made)
    if not is_quantised(network):
        sys.exit(f"{source} has no matrix product with constant weights; there is nothing to quantise")
    data = f"{target.name}.data"
    onnx.save_model(
        network, target, save_as_external_data=external, all_tensors_to_one_file=True, location=data, size_threshold=EXTERNAL,
    )
    if not external:
        return [target]
    # onnx lets their owner alone read the weights; the service is somebody else.
    shutil.copymode(target, target.parent / data)
    return [target, target.parent / data]


def described(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {"file": path.name, "size": path.stat().st_size, "sha256": digest.hexdigest()}


def make_bundle(source, target, aliases):
    manifest = yaml.safe_load((source / "model.yaml").read_text(encoding="utf-8"))
    if target.name[:1] not in NAME or set(target.name) - set(NAME + "._-"):
        sys.exit(f"{target.name!r} is no name of a model: lower-case letters, digits, '.', '_' and '-'")
    if manifest.get("precision", "fp32") != "fp32":
        sys.exit(f"{manifest['name']} is {manifest['precision']}; start from the fp32 model")
    missing = [tower for tower in ("image", "text") if "cpu" not in manifest["towers"][tower]]
    if missing:
        sys.exit(f"{manifest['name']} has no ONNX for its {' and '.join(missing)} encoder; nothing to quantise")
    target.mkdir(parents=True)
    try:
        fill(source, target, manifest, aliases)
    except BaseException:
        shutil.rmtree(target)
        raise


def fill(source, target, manifest, aliases):
    copied = {manifest["text"]["tokenizer"]["file"]}
    for tower in manifest["towers"].values():
        before = sum(file["size"] for file in (tower["cpu"], *tower["cpu"].get("data", [])))
        made = quantise(source / tower["cpu"]["file"], target / tower["cpu"]["file"], external=before > 8 << 20)
        graph, *data = map(described, made)
        tower["cpu"] = graph | ({"data": data} if data else {})
        after = sum(file["size"] for file in (graph, *data))
        print(f"{graph['file']}: {before / 1e6:.1f} MB to {after / 1e6:.1f} MB", flush=True)
        for platform, artefact in tower.items():
            if platform != "cpu":
                beside = ("token_embedding", "text_projection")
                copied |= {artefact["file"], *(artefact[key]["file"] for key in beside if artefact.get(key))}
    for file in copied:
        shutil.copyfile(source / file, target / file)
    manifest |= {
        "name": target.name, "precision": "int8", "aliases": aliases,
        "source": f"{manifest.get('source') or manifest['name']}; quantised by ONNX Runtime, dynamically, for each channel",
    }
    (target / "model.yaml").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="the fp32 bundle, or with --network its ONNX file")
    parser.add_argument("target", type=Path, help="the folder to make; its name becomes the model's")
    parser.add_argument("--network", action="store_true", help="quantise one ONNX file, weights inside")
    parser.add_argument("--alias", action="append", default=[], help="another name of the new model's vectors")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    if options.target.exists():
        sys.exit(f"{options.target} is there already; remove it, or choose another name")
    if options.network:
        quantise(options.source, options.target, external=False)
    else:
        make_bundle(options.source, options.target, options.alias)


if __name__ == "__main__":
    main()
