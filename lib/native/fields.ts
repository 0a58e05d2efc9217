// The fields and views of an attention request, as positions; the names are those of binding/requests/fields.h. Patterns look
// theirs up in their own files.
// Reader: someone who adds an operand or an option. Names are looked up once, when the package loads.

import { Op } from './op.js';

export const attentionOp = new Op('attention');
const { field: fieldAt, view: slotAt } = attentionOp;

export const field = {
  device: fieldAt('device'),
  batch: fieldAt('batch'),
  queryHeads: fieldAt('queryHeads'),
  kvHeads: fieldAt('kvHeads'),
  queries: fieldAt('queries'),
  keys: fieldAt('keys'),
  headDim: fieldAt('headDim'),
  valueDim: fieldAt('valueDim'),
  type: fieldAt('type'),
  keyType: fieldAt('keyType'),
  sequences: fieldAt('sequences'),
  scale: fieldAt('scale'),
  softcap: fieldAt('softcap'),
  isCosine: fieldAt('isCosine'),
  activation: fieldAt('activation'),
  activationBias: fieldAt('activationBias'),
  isActivationBiasOfKeys: fieldAt('isActivationBiasOfKeys'),
  left: fieldAt('left'),
  right: fieldAt('right'),
  sinkTokens: fieldAt('sinkTokens'),
  align: fieldAt('align'),
  alignOffset: fieldAt('alignOffset'),
  pairing: fieldAt('pairing'),
  scoreFactorType: fieldAt('scoreFactorType'),
  biasType: fieldAt('biasType'),
  biasIsOfKvHeads: fieldAt('biasIsOfKvHeads'),
  // Operands have their strides in the fields that follow the offset.
  q: fieldAt('queryOffset'),
  k: fieldAt('keyOffset'),
  v: fieldAt('valueOffset'),
  out: fieldAt('outOffset'),
  lse: fieldAt('lseOffset'),
  scoreFactor: fieldAt('scoreFactorOffset'),
  bias: fieldAt('biasOffset'),
  mask: fieldAt('maskOffset'),
  keyMask: fieldAt('keyMaskOffset'),
  alibiSlopes: fieldAt('alibiSlopesOffset'),
  sinks: fieldAt('sinksOffset'),
  gate: fieldAt('gateOffset'),
  gateType: fieldAt('gateType'),
  extraCount: fieldAt('extraTokens'),
  extraKeys: fieldAt('extraKeysOffset'),
  extraValues: fieldAt('extraValuesOffset'),
  pages: fieldAt('pages'),
  pageSize: fieldAt('pageSize'),
  pattern: fieldAt('pattern'),
  relativeBias: fieldAt('relativeBiasOffset'),
};

export const slot = {
  q: slotAt('query'),
  k: slotAt('key'),
  v: slotAt('value'),
  out: slotAt('out'),
  lse: slotAt('lse'),
  scoreFactor: slotAt('scoreFactor'),
  bias: slotAt('bias'),
  mask: slotAt('mask'),
  keyMask: slotAt('keyMask'),
  alibiSlopes: slotAt('alibiSlopes'),
  sinks: slotAt('sinks'),
  gate: slotAt('gate'),
  cuSeqlensQ: slotAt('cuSeqlensQ'),
  cuSeqlensK: slotAt('cuSeqlensK'),
  keyLengths: slotAt('keyLengths'),
  keyStarts: slotAt('keyStarts'),
  queryPositions: slotAt('queryPositions'),
  keyPositions: slotAt('keyPositions'),
  pageTable: slotAt('pageTable'),
  extraKeys: slotAt('extraKeys'),
  extraValues: slotAt('extraValues'),
  relativeBias: slotAt('relativeBias'),
};

/** Where operands cross. */
export const place = {
  q: { field: field.q, slot: slot.q },
  k: { field: field.k, slot: slot.k },
  v: { field: field.v, slot: slot.v },
  extraKeys: { field: field.extraKeys, slot: slot.extraKeys },
  extraValues: { field: field.extraValues, slot: slot.extraValues },
  sinks: { field: field.sinks, slot: slot.sinks },
};

/** The form of an attention request. */
export const attentionForm = {
  fields: attentionOp.fields,
  slots: attentionOp.views,
  results: { out: { field: field.out, slot: slot.out }, lse: { field: field.lse, slot: slot.lse } },
};
