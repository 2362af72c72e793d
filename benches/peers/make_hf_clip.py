"""CLIP ViT-B/32 with random weights as the Hugging Face hub lays it out, for infinity-emb.

    make_hf_clip.py DIRECTORY TOKENIZER

Of the shape of export_vit_b32.py's bundle, not of its weights: only the speed is of interest.
"""

import sys

import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

folder, tokenizer = sys.argv[1:]
torch.manual_seed(32)
CLIPModel(CLIPConfig(projection_dim=512)).save_pretrained(folder)
text = CLIPTokenizerFast(
    tokenizer_file=tokenizer, unk_token="<|endoftext|>", bos_token="<|startoftext|>", eos_token="<|endoftext|>",
    pad_token="<|endoftext|>", model_max_length=77,
)
CLIPProcessor(CLIPImageProcessor(), text).save_pretrained(folder)
