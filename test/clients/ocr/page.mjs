// A page to read: lines of text as paths of a font, so that no font of the machine has a say. Reader: the program beside it.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import opentype from 'opentype.js';
import sharp from 'sharp';

const [size, margin, pitch, width] = [36, 40, 72, 900];
const file = createRequire(import.meta.url).resolve('dejavu-fonts-ttf/ttf/DejaVuSans.ttf');
const font = opentype.parse(Uint8Array.from(readFileSync(file)).buffer);

/** A line's letters, one after the other: nothing is joined or kerned. */
function pathsOf(line, y) {
  let x = margin;
  return Array.from(line, (letter) => {
    const glyph = font.charToGlyph(letter);
    const path = glyph.getPath(x, y, size).toSVG(2);
    x += (glyph.advanceWidth * size) / font.unitsPerEm;
    return path;
  }).join('');
}

/** Draws black lines on white into a PNG file. */
export async function drawPage(lines, target) {
  const height = 2 * margin + pitch * lines.length;
  const paths = lines.map((line, i) => pathsOf(line, margin + size + pitch * i)).join('');
  const area = `width="${width}" height="${height}"`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${area}><rect ${area} fill="white"/>${paths}</svg>`;
  await sharp(Buffer.from(svg)).png().toFile(target);
}
