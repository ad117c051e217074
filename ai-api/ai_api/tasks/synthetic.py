"""Synthetic products in the layout of Rakuten's challenge. Titles and images mostly determine the code."""

from __future__ import annotations

import html
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

KINDS: dict[str, str] = {
    "10": "livre roman occasion",
    "40": "jeu console cartouche",
    "50": "manette câble chargeur",
    "60": "console rétro portable",
    "1140": "figurine collection manga",
    "1160": "carte pokémon yugioh",
    "1180": "figurine warhammer peinture",
    "1280": "jouet peluche poupée",
    "1281": "jeu société plateau",
    "1300": "drone maquette télécommande",
    "1301": "chaussette bébé baby-foot",
    "1302": "trampoline pêche extérieur",
    "1320": "poussette biberon doudou",
    "1560": "table meuble chaise",
    "1920": "coussin housse plaid",
    "1940": "café chocolat bonbon",
    "2060": "décoration guirlande sticker",
    "2220": "collier chien litière",
    "2280": "journal revue numéro",
    "2403": "lot livres bande dessinée",
    "2462": "lot jeux vidéo pack",
    "2522": "cahier papier encre",
    "2582": "parasol jardin salon",
    "2583": "piscine pompe filtre",
    "2585": "perceuse tondeuse outil",
    "2705": "essai histoire philosophie",
    "2905": "jeu pc téléchargement",
}
LANGUAGES = {
    "fr": ("neuf", "très bon état", "livraison rapide", "garantie", "édition limitée", "pour enfants", "qualité été"),
    "en": ("brand new", "very good", "fast delivery", "warranty", "limited edition", "for children", "high quality"),
    "de": ("neu", "sehr gut", "schnelle Lieferung", "Garantie", "limitierte Auflage", "für Kinder", "Größe wählbar"),
}
MISSING_IMAGES, MISSING_DESCRIPTIONS, WRONG_CODES = 0.05, 0.35, 0.05


def write_products(folder: Path, rows: int, seed: int = 0) -> None:
    """The challenge's three files with synthetic content: HTML and entities, gaps, three languages, wrong codes."""
    random = np.random.default_rng(seed)
    share = random.dirichlet(np.full(len(KINDS), 3.0))
    codes = np.concatenate([list(KINDS), random.choice(list(KINDS), max(0, rows - len(KINDS)), p=share)])[:rows]
    texts = [synthetic_texts(KINDS[code], place, random) for place, code in enumerate(codes)]
    products, images = random.permutation(rows) + 4_000_000, random.permutation(rows) + 1_000_000_000
    folder.mkdir(parents=True)
    pd.DataFrame(
        {
            "designation": [title for title, _ in texts],
            "description": [description for _, description in texts],
            "productid": products,
            "imageid": images,
        }
    ).to_csv(folder / "X_train_update.csv")
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for code, product, image in zip(codes, products, images, strict=True):
            if random.random() > MISSING_IMAGES:
                drawn = draw(list(KINDS).index(code), (100, 100), random)
                archive.writestr(f"images/image_train/image_{image}_product_{product}.jpg", drawn)
    wrong = random.random(rows) < WRONG_CODES
    codes[wrong] = random.choice(list(KINDS), wrong.sum())
    pd.DataFrame({"prdtypecode": codes}).to_csv(folder / "Y_train_CVw08PX.csv")


def synthetic_texts(kind: str, place: int, random: np.random.Generator) -> tuple[str, str]:
    """A title with words that indicate the code, and a description in HTML, which may be empty."""
    words, phrases = kind.split(), LANGUAGES[str(random.choice(list(LANGUAGES), p=(0.8, 0.12, 0.08)))]
    title = f"{random.choice(words).capitalize()} {random.choice(words)} {random.choice(phrases)} n°{place}"
    if random.random() < MISSING_DESCRIPTIONS:
        return title, ""
    sentences = "<br />".join(f"{random.choice(phrases)} &amp; {random.choice(words)}" for _ in range(3))
    return title, f"<p>{html.escape(title).replace('é', '&eacute;')}</p>\n{sentences} &#39;*&#39;"


def draw(kind: int, size: tuple[int, int], random: np.random.Generator) -> bytes:
    """A JPEG of `size` (width, height): a block whose colour and form indicate the kind, on white, with noise."""
    from PIL import Image, ImageDraw

    width, height = size
    canvas = Image.new("RGB", size, "white")
    colour = tuple(int(value) for value in np.random.default_rng(kind).integers(0, 220, 3))
    left, top = random.integers(4, width // 4), random.integers(4, height // 4)
    shape = (int(left), int(top), int(width - left), int(height - top * (1 + kind % 3) // 2))
    draw_shape = (ImageDraw.Draw(canvas).ellipse, ImageDraw.Draw(canvas).rectangle)[kind % 2]
    draw_shape(shape, fill=colour)
    noisy = np.asarray(canvas, dtype=np.int16) + random.integers(-12, 13, (height, width, 3), dtype=np.int16)
    kept = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(kept, "JPEG", quality=85)
    return kept.getvalue()
