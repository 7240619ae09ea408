import { z } from 'zod';
import {
  zAttachmentCall,
  zInboxCall,
  zRecallCall,
  zReplyCall,
  zSendCall,
  zUnsendCall,
  zWaitCall,
} from '../../protocol/calls.ts';
import {
  zAttachmentResult,
  zInboxResult,
  zRecallResult,
  zReplyResult,
  zSelf,
  zSendResult,
  zUnsendResult,
  zWaitResult,
} from '../../protocol/views.ts';
import { zEmpty } from './answers.ts';
import { zProblem } from './problem.ts';

/** What a client and its daemon say to each other on the connection of a session; see session-lines.ts. */

/** What a connection changes over to that becomes a session (RFC 9110 section 7.8). */
export const SESSION_PROTOCOL = 'patchcord-session';
export const SESSION_PATH = '/api/session';

/** The first line of a session is a zSessionBody; this is the id of its answer. */
export const OPENING_ID = 0;
export const zSessionOpened = z.object({ self: zSelf });

/** What can be asked: the shape of a call's parameters, and of its answer. */
const CALLS = {
  inbox: { params: zInboxCall, answer: zInboxResult },
  send: { params: zSendCall, answer: zSendResult },
  reply: { params: zReplyCall, answer: zReplyResult },
  wait: { params: zWaitCall, answer: zWaitResult },
  recall: { params: zRecallCall, answer: zRecallResult },
  unsend: { params: zUnsendCall, answer: zUnsendResult },
  attachment: { params: zAttachmentCall, answer: zAttachmentResult },
  confirm: { params: zEmpty, answer: zEmpty },
  release: { params: zEmpty, answer: zEmpty },
};
type Calls = typeof CALLS;
export type CallName = keyof Calls;
export type ParamsOf<Name extends CallName> = z.output<Calls[Name]['params']>;
export type AnswerTo<Name extends CallName> = z.output<Calls[Name]['answer']>;
export const SESSION_CALLS: {
  [Name in CallName]: { params: z.ZodType<ParamsOf<Name>>; answer: z.ZodType<AnswerTo<Name>> };
} = CALLS;

const zCallId = z.int().min(OPENING_ID + 1);
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.keys says no more than string
const CALL_NAMES = Object.keys(CALLS) as [CallName, ...CallName[]];
const zSessionCall = z.object({ id: zCallId, call: z.enum(CALL_NAMES), params: z.unknown().optional() });
const zSessionCancel = z.object({ id: zCallId, cancel: z.literal(true) });
/** What a client writes: a call, or that it does not wait for the answer of one any more. */
export const zSessionLine = z.union([zSessionCall, zSessionCancel]);
export type SessionCall = z.infer<typeof zSessionCall>;
export type SessionLine = z.infer<typeof zSessionLine>;
/** What it reads. */
export const zSessionAnswer = z.union([
  z.object({ id: z.int(), problem: zProblem }),
  z.object({ id: z.int(), answer: z.unknown() }),
]);
export type SessionAnswer = z.infer<typeof zSessionAnswer>;
