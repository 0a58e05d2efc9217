// The picture of docs/guide/landmarks.md: how one query's weight is shared among tokens. Reader: generate.mjs, which writes it.
// The weights are those of the definition: a softmax over landmarks and the query's own block, and one in each earlier block.
import { uniformNumbers } from '../../test/support/uniform.mjs';

const [blockSize, blocks, own] = [8, 4, 5]; // the query sees so many tokens of the last block, itself included
const uniform = uniformNumbers(11);
const scores = Array.from({ length: blockSize * blocks }, () => 4 * uniform() - 2);

const softmax = (numbers) => {
  const sum = numbers.reduce((all, x) => all + Math.exp(x), 0);
  return numbers.map((x) => Math.exp(x) / sum);
};
const tokensOf = (block) => scores.slice(block * blockSize, (block + 1) * blockSize);
const earlier = Array.from({ length: blocks - 1 }, (_, block) => tokensOf(block));
const first = softmax([...earlier.map((block) => block[blockSize - 1]), ...tokensOf(blocks - 1).slice(0, own)]);

/** The weight of each token, of landmarks 0. */
const weights = [
  ...earlier.flatMap((block, i) => [...softmax(block.slice(0, -1)).map((share) => share * first[i]), 0]),
  ...first.slice(blocks - 1),
];

const [left, width, gap, tall, ground] = [40, 19, 10, 560, 190];
const colors = { landmark: '#e9a03b', shared: '#2563a8', own: '#2e8b57', hidden: '#eceff3' };
const x = (token) => left + token * width + Math.floor(token / blockSize) * gap;
const bar = (at, top, weight, color) =>
  `<rect x="${at}" y="${(top - tall * weight).toFixed(1)}" width="${width - 3}" height="${(tall * weight).toFixed(1)}" fill="${color}"/>`;

/** An SVG document. */
export function landmarkPicture() {
  const blockOf = (block) => {
    const [begin, isOwn] = [block * blockSize, block === blocks - 1];
    return [
      `<text x="${x(begin)}" y="${ground + 34}">block ${block}${isOwn ? ', the query’s' : ''}</text>`,
      ...Array.from({ length: blockSize }, (_, i) => {
        const isLandmark = i === blockSize - 1;
        const color = isLandmark
          ? colors.landmark
          : isOwn && i >= own
            ? colors.hidden
            : isOwn
              ? colors.own
              : colors.shared;
        return `<rect x="${x(begin + i)}" y="${ground + 4}" width="${width - 3}" height="${width - 3}" fill="${color}"/>`;
      }),
    ];
  };
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="282" viewBox="0 0 760 282">',
    '<style>text{font:11px sans-serif;fill:#222}.title{font-size:14px}</style>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    '<text x="12" y="22" class="title">The weights of one query: a landmark’s weight in the first softmax, and how its block shares it</text>',
    ...Array.from({ length: blocks }, (_, block) => blockOf(block)).flat(),
    ...first.slice(0, blocks - 1).map((weight, i) => bar(x((i + 1) * blockSize - 1), ground, weight, colors.landmark)),
    ...weights.map((weight, token) =>
      bar(x(token), ground, weight, token < (blocks - 1) * blockSize ? colors.shared : colors.own),
    ),
    ...[
      ['landmark: what its block gets', colors.landmark],
      ['token of an earlier block: its share of that', colors.shared],
      ['token of the query’s block', colors.own],
      ['not seen', colors.hidden],
    ].map(
      ([name, color], i) =>
        `<rect x="${left + (i % 2) * 330}" y="${ground + 48 + 18 * Math.floor(i / 2)}" width="10" height="10" fill="${color}"/>` +
        `<text x="${left + 16 + (i % 2) * 330}" y="${ground + 57 + 18 * Math.floor(i / 2)}">${name}</text>`,
    ),
    '</svg>',
  ].join('\n');
}
