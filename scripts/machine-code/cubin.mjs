// What a cubin says of its kernels, and their code: an ELF file of NVIDIA's, read without the toolkit's tools.
// Reader: someone who adds an attribute. ELF is the standard's; the attributes were found by kernels that differ in one of
// them, and test/devices/launch-limits.test.ts holds each against what ptxas prints.

const kAttributes = {
  maxThreads: 0x05,
  stackBytes: 0x11,
  paramBytes: 0x19,
  registers: 0x2f,
  barriers: 0x4c,
};

/** Sections by name: offset, size, type, and the symbol table's entries. */
function sectionsOf(file) {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2) throw new Error('not an ELF file of 64 bits');
  const table = Number(file.readBigUInt64LE(40));
  const [entry, count, names] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)];
  const sections = Array.from({ length: count }, (_, i) => {
    const at = table + i * entry;
    const number = (offset) => Number(file.readBigUInt64LE(at + offset));
    return { nameAt: file.readUInt32LE(at), offset: number(24), size: number(32) };
  });
  const text = (section, at) => {
    const begin = section.offset + at;
    return file.toString('latin1', begin, file.indexOf(0, begin));
  };
  const byName = new Map(sections.map((section) => [text(sections[names], section.nameAt), section]));
  const symbolName = (index) =>
    text(byName.get('.strtab'), file.readUInt32LE(byName.get('.symtab').offset + index * 24));
  return { byName, symbolName };
}

/** The attributes of an .nv.info section, in order: a number, or bytes. */
function attributesOf(file, section) {
  const all = [];
  for (let at = section.offset; at < section.offset + section.size; ) {
    const [format, attribute, value] = [file[at], file[at + 1], file.readUInt16LE(at + 2)];
    at += 4;
    if (format < 1 || format > 4) throw new Error(`attribute ${attribute} has the unknown format ${format}`);
    all.push({ attribute, value: format === 4 ? file.subarray(at, at + value) : value });
    if (format === 4) at += value;
  }
  return all;
}

/**
 * The kernels of a cubin, by name.
 * @param {Buffer} file
 */
export function readCubin(file) {
  const { byName, symbolName } = sectionsOf(file);
  const kernels = new Map();
  // From Hopper on a block's first KB is the system's, and is counted with the kernel's own.
  const reserved = byName.has('.nv.shared.reserved.0') ? 1024 : 0;
  for (const [name, { offset, size }] of byName) {
    if (!name.startsWith('.text.')) continue;
    const kernel = name.slice('.text.'.length);
    const own = attributesOf(file, byName.get(`.nv.info.${kernel}`));
    const find = (attribute) => own.find((a) => a.attribute === attribute)?.value;
    const threads = find(kAttributes.maxThreads);
    kernels.set(kernel, {
      maxThreads: threads && threads.readUInt32LE(0) * threads.readUInt32LE(4) * threads.readUInt32LE(8),
      paramBytes: find(kAttributes.paramBytes),
      barriers: find(kAttributes.barriers) ?? 0,
      code: file.subarray(offset, offset + size),
      staticSharedBytes: Math.max(0, (byName.get(`.nv.shared.${kernel}`)?.size ?? 0) - reserved),
    });
  }
  // The whole file's: pairs of a symbol and a number.
  for (const { attribute, value } of attributesOf(file, byName.get('.nv.info'))) {
    const field = ['registers', 'stackBytes'].find((name) => kAttributes[name] === attribute);
    const kernel = field && kernels.get(symbolName(value.readUInt32LE(0)));
    if (kernel) kernel[field] = value.readUInt32LE(4);
  }
  return kernels;
}
