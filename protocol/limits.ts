/**
 * Every bound in one place: what a message, a frame, a queue or a wait may measure. Units come last in the
 * name. Numbers that the wire depends on are marked; changing one of those is a protocol change.
 */

/** Longest message text, in UTF-16 code units, after trimming. Wire. */
export const CONTENT_LENGTH_MAX = 50_000;
/** Longest agent or namespace name. Wire. */
export const NAME_LENGTH_MAX = 120;
/** Longest thread slug after normalisation. Wire. */
export const THREAD_LENGTH_MAX = 120;
/** Longest machine label or client description. Wire. */
export const LABEL_LENGTH_MAX = 120;
/** Longest status text of an agent. Wire. */
export const STATUS_LENGTH_MAX = 140;
/** Longest names of the folder and of the git branch that an agent works in. Wire. */
export const PROJECT_LENGTH_MAX = 120;
export const BRANCH_LENGTH_MAX = 120;
/** An agent that has asked for nothing for this long counts as idle. */
export const BUSY_MS = 5 * 60_000;
/** What agents do is announced at most this often. */
export const ACTIVITY_ANNOUNCE_MS = 2_000;
/** Subscriptions to the presence of others that one agent may have, */
export const WATCHES_PER_AGENT_MAX = 50;
/** how long one lasts unless told otherwise, and at most. */
export const WATCH_TTL_MS = 24 * 3_600_000;
export const WATCH_TTL_MS_MAX = 7 * 24 * 3_600_000;
/** A live view of the machine is told of changes at most this often. */
export const TOP_INTERVAL_MS = 250;
/** Agents that a live view names. */
export const TOP_AGENTS_MAX = 500;
/** Most recipients of one send_message. */
export const RECIPIENTS_MAX = 50;

/** Longest link frame body in bytes: a full message in 4-byte characters, sealed, with room for its header. Wire. */
export const FRAME_SIZE_BYTES_MAX = 256 * 1024;
/** Frames that may be unacknowledged on one link. 512 ran 35k msg/s against a slow reader without a reset. */
export const WINDOW_FRAMES = 512;
/** Bytes that may be unacknowledged on one link; libp2p resets a stream whose reader is 4 MiB behind. */
export const WINDOW_SIZE_BYTES = 2 * 1024 * 1024;
/** Bytes that may wait for a slow reader before the link to it is dropped. */
export const LINK_BUFFER_BYTES_MAX = 3 * 1024 * 1024;
/** A machine tells its links this often what it holds, so that whatever was lost is asked for again. */
export const BEAT_INTERVAL_MS = 15_000;
/** A link that was silent for this long is asked whether it is there, */
export const LINK_ASK_MS = 3_000;
/** and given up after this much silence, looked at once a second: a silent partition is noticed within 8 s. */
export const LINK_SILENCE_MS = 7_000;
/** An unacknowledged parcel is sent again after this long, doubled each time, up to the maximum. */
export const RETRY_BASE_MS = 2_000;
export const RETRY_MAX_MS = 60_000;

/** Envelopes that a mailbox offers, or a depositor takes back, in one frame. Wire. */
export const OFFER_HASHES_MAX = 256;
/** A mailbox looks for what has been kept for too long this often. */
export const HELD_SWEEP_INTERVAL_MS = 10 * 60_000;

/** A machine makes a new prekey this often, */
export const PREKEY_ROTATION_MS = 24 * 3_600_000;
/** others count it as fresh for this long, */
export const PREKEY_VALID_MS = 72 * 3_600_000;
/** use it for this long when there is no newer one, marked stale, */
export const PREKEY_STALE_MS = 30 * 24 * 3_600_000;
/**
 * and its private part is kept for as long as mail that was sealed to it may still arrive: a mailbox keeps it for 30
 * days at most, and sweeps whole days.
 */
export const PREKEY_KEPT_MS = PREKEY_STALE_MS + 31 * 24 * 3_600_000;
export const PREKEY_SEQUENCE_MAX = 2 ** 31;

/** Members of one namespace. Wire. */
export const MEMBERS_MAX = 1_000;
/** Links that a machine keeps in one namespace, unless configured otherwise; up to one member more, all link with all. */
export const LINKS_MAX = 64;
export const LINKS_CONFIGURED_MIN = 4;
export const LINKS_CONFIGURED_MAX = 1_000;
/** Links that are made for a time, because there is something for a machine with which none is kept. */
export const BRIEF_LINKS_MAX = 32;
/** One that has carried no mail for so long is given up by the machine that made it. */
export const BRIEF_LINK_IDLE_MS = 60_000;
/** Mail waits so long for such a link before it is given to others to carry; */
export const BRIEF_LINK_MOMENT_MS = 1_000;
/** the link is tried for so long, */
export const BRIEF_LINK_TRY_MS = 10_000;
/** and then not again before this. */
export const BRIEF_LINK_REST_MS = 5 * 60_000;
/** Machines that hold a link with this one which only they keep; the next is turned away. */
export const VISITORS_MAX = 256;
/** With fewer links than this in a namespace, any members are tried that have an address. */
export const LINKS_FEW = 2;
/** An envelope that is passed on toward its recipient waits so long for the answer before it is kept here. */
export const ONWARD_ANSWER_MS = 2_000;
/** What is kept for want of a way on is looked at again this often. */
export const ONWARD_AGAIN_MS = 30_000;
/** A machine that is there and yet not linked with a neighbour that keeps mail for it: another may try, this often. */
export const ONWARD_ASIDE_MS = 60_000;
/** Statements of one namespace log that a machine keeps. Wire. */
export const STATEMENTS_MAX = 10_000;
/** Agents that one machine may announce in one namespace. Wire. */
export const AGENTS_PER_MACHINE_MAX = 100;
/** Addresses that a ticket, a roster entry or the address book keeps per machine. Wire. */
export const ADDRESSES_MAX = 16;
/** What a machine says of where it is, signed: with its seal it fits one datagram. Wire. */
export const WHEREABOUTS_SIZE_BYTES_MAX = 1_000;
/** The same as the members of a large namespace keep it for each other: salt, the padded word, seal. Wire. */
export const RECORD_SIZE_BYTES_MAX = 1_072;
/** Records that a machine keeps for others in one namespace: one a member, and some who have left. */
export const TABLE_RECORDS_MAX = 2 * MEMBERS_MAX;
/** How long one look into the table, or one change of it, may take. */
export const TABLE_TIMEOUT_MS = 10_000;
/** Members with which a machine is connected for the table's sake alone, and how long after the last use. */
export const TABLE_VISITS_MAX = 32;
export const TABLE_VISIT_IDLE_MS = 10_000;
/** Streams of one member's questions at the same time. */
export const TABLE_STREAMS_MAX = 8;
/** How often it is looked at whether there is somebody to ask about, or something to say. */
export const TABLE_TICK_MS = 1_000;
/** A machine that was not found is asked about again after this, then twice as long, up to the second. */
export const SEEK_AGAIN_MS = 2_000;
export const SEEK_AGAIN_MS_MAX = 10 * 60_000;
/** Machines of which it is remembered when they were asked about. */
export const SOUGHT_MAX = 1_000;
/** Where a machine is, it publishes again after this when nobody took it, */
export const PUBLISH_UNHELD_MS = 2_000;
/** else after this, then four times as long, up to the second. */
export const PUBLISH_AGAIN_MS = 15_000;
export const PUBLISH_AGAIN_MS_MAX = 60 * 60_000;
/** A datagram on the LAN: it crosses every link in one piece (RFC 8200 section 5, less the headers). Wire. */
export const DATAGRAM_SIZE_BYTES_MAX = 1_232;
/** Longest ticket text. */
export const TICKET_LENGTH_MAX = 12_288;
/** Open invites of one namespace. */
export const INVITES_MAX = 100;
/** How long an invite holds unless told otherwise, and at most. */
export const INVITE_TTL_MS = 10 * 60_000;
export const INVITE_TTL_MS_MAX = 7 * 24 * 3_600_000;

/** How long a letter waits for its machine before it expires, and how long the history keeps, unless told otherwise, */
export const RETENTION_MS = 7 * 24 * 3_600_000;
/** at least, */
export const RETENTION_MS_MIN = 24 * 3_600_000;
/** and at most. */
export const RETENTION_MS_MAX = 30 * 24 * 3_600_000;
/** A copy comes no later than this after its message was sent: it waits at its sender, then for whole days at a mailbox. */
export const COPY_AGE_MS_MAX = 2 * RETENTION_MS_MAX + 24 * 3_600_000;
/** The history is looked through for what is too old this often. */
export const HISTORY_SWEEP_INTERVAL_MS = 3_600_000;
/** Letters that wait on one machine for another. */
export const OUTBOX_MAX = 50_000;
/** Last place in one line of sender and recipient; stored keys give it twelve digits. Wire. */
export const SEQUENCE_MAX = 2 ** 39;
/** Last epoch of a machine's lines: the time at which it began, in milliseconds. Wire. */
export const EPOCH_MAX = 2 ** 48;
/** Messages that one letter asks about, or tells of. Wire. */
export const DOUBTS_MAX = 100;
/** What a restored machine had unread stays unseen until its sender's machine has told what it knows of it, at most */
export const DOUBT_MS = 24 * 3_600_000;
/** What a machine gives others to keep, so that it learns from them when it was set back. */
export const MILESTONE_SIZE_BYTES_MAX = 256;
/** A machine is sent everything again that it may have lost at most this often. */
export const RESYNC_INTERVAL_MS = 60_000;
/** Most hops that a chain of answers may count. Wire. */
export const HOPS_MAX = 1_000_000;
/** An answer may be asked for within this time at the earliest, and at the latest. Wire. */
export const REPLY_WITHIN_MS_MIN = 1_000;
export const REPLY_WITHIN_MS_MAX = 7 * 24 * 3_600_000;
/** Hops after which agents cannot go on without a person, unless configured otherwise, and the most to configure. */
export const HOPS_DEFAULT = 40;
export const HOPS_CONFIGURED_MAX = 1_000;
/** An agent is told when so few hops are left. */
export const HOPS_WARNED = 5;
/** Ids that one thread is known to have had. */
export const THREAD_ROOTS_MAX = 8;
/** Answers owed that one batch looks at. */
export const DUE_MAX = 100;
/** Bytes of the letters that wait on one machine for another. */
export const OUTBOX_SIZE_BYTES_MAX = 256 * 1024 * 1024;
/** Messages that one agent's inbox holds unread, */
export const INBOX_MAX = 50_000;
/** of them those of one sender, so that it cannot keep others out, */
export const INBOX_SENDER_MAX = 10_000;
/** and the bytes of their text. */
export const INBOX_SIZE_BYTES_MAX = 64 * 1024 * 1024;
/** A gap in one sender's sequence holds later messages back for at most this long. */
export const GAP_HOLD_MS = 30_000;
/** Most messages held behind the gaps of one sender. */
export const GAP_HELD_MAX = 1_024;

/** Messages that `inbox` shows at once, and the most that `recall` gives. */
export const INBOX_SHOWN_MAX = 100;
export const RECALL_MAX = 100;
/** `recall` cuts content to this many characters. */
export const RECALL_CONTENT_LENGTH = 200;
/** Messages that a blocked send shows. */
export const GATE_SHOWN_MAX = 5;

/** What was shown becomes read with the session's next request, or after this long. */
export const LEASE_MS = 120_000;
/** Receipts of what is read within this time go together; nothing fresh waits behind many of them. */
export const RECEIPTS_GATHER_MS = 100;
/** A session without a connection of its own (HTTP) ends after this much silence. */
export const SESSION_IDLE_MS = 10 * 60_000;
/** Sessions one daemon serves at once. */
export const SESSIONS_MAX = 1_000;
/** Bounds of wait_for_message, in seconds. */
export const WAIT_SECONDS_MIN = 1;
export const WAIT_SECONDS_MAX = 3_600;
/** A long wait reports progress at least this often. */
export const PROGRESS_INTERVAL_MS = 15_000;
/** unsend asks the home machine for at most this long before it answers `requested`. */
export const UNSEND_ANSWER_MS = 5_000;

/** Mailboxes at which an envelope for an absent machine is left. */
export const MAILBOXES_PER_RECIPIENT = 3;
/** A daemon that has run this long is one that rarely stops: a better mailbox than one that just started. */
export const MAILBOX_UPTIME_LONG_MS = 24 * 3_600_000;
/** What a mailbox keeps for one machine in one namespace, in envelopes and in their bytes, */
export const MAILBOX_RECIPIENT_COUNT_MAX = 10_000;
export const MAILBOX_RECIPIENT_SIZE_BYTES_MAX = 64 * 1024 * 1024;
/** for all machines of one namespace, */
export const MAILBOX_NAMESPACE_SIZE_BYTES_MAX = 256 * 1024 * 1024;
/** and in all. Keys and indexes come on top, about 1 KB an envelope. */
export const MAILBOX_COUNT_MAX = 100_000;
export const MAILBOX_SIZE_BYTES_MAX = 1024 * 1024 * 1024;
/** What one machine may leave at a mailbox within this time, in envelopes and in their bytes. */
export const MAILBOX_DEPOSITOR_WINDOW_MS = 3_600_000;
export const MAILBOX_DEPOSITOR_COUNT_MAX = 10_000;
export const MAILBOX_DEPOSITOR_SIZE_BYTES_MAX = 128 * 1024 * 1024;
/**
 * A mailbox keeps an envelope for this long unless told otherwise, and up to a day longer: it sweeps whole days, UTC, by
 * its own clock.
 */
export const MAILBOX_RETENTION_MS = 7 * 24 * 3_600_000;
/** Envelopes that one page of a mailbox offers, or one request says it has. */
export const MAILBOX_PAGE_MAX = 500;

/** Items of one bundle, and its bytes: more than a full log, a full outbox and what a mailbox keeps for a namespace. */
export const BUNDLE_ITEMS_MAX = 500_000;
export const BUNDLE_SIZE_BYTES_MAX = 1024 * 1024 * 1024;

/** Connections that a machine passes on at once as a relay, */
export const RELAYED_MAX = 2_048;
/** of them those that begin or end at one machine: one for each link of a full mesh, and what is being replaced, */
export const RELAYED_PER_MACHINE_MAX = 192;
/** and between two machines: links are replaced, and addresses race. */
export const RELAYED_PER_PAIR_MAX = 4;
/** Those of machines that are no members yet and hold an invite of a member behind the relay, */
export const RELAYED_GUESTS_MAX = 16;
/** of them those to one inviter, */
export const RELAYED_GUESTS_PER_INVITER_MAX = 4;
/** their bytes both ways: a join answer is one frame, */
export const RELAYED_GUEST_SIZE_BYTES_MAX = 1024 * 1024;
/** and how long one may last. */
export const RELAYED_GUEST_MS_MAX = 30_000;
/** Bytes that may wait at a relay for one slow machine; a link has no more than its window under way, */
export const RELAYED_BUFFER_BYTES_MAX = 4 * 1024 * 1024;
/** and for all of them together; */
export const RELAYED_BUFFERS_BYTES_MAX = 64 * 1024 * 1024;
/** what waits for one machine counts from here on. */
export const RELAYED_BUFFER_COUNTED_BYTES = 16 * 1024;
/** A relayed connection on which nothing was said for so long is ended; a link says something every few seconds. */
export const RELAYED_SILENCE_MS = 60_000;
/** Relays at which a machine says that it can be reached. */
export const RELAYS_CHOSEN_MAX = 2;
/** Holes that a machine punches at once; each takes a connection more with a relay, which takes 8 of one machine. */
export const PUNCHES_MAX = 4;
/** What another machine may have it try, at once and for each second: 4, and one more every two minutes. */
export const PUNCHES_BURST = 4;
export const PUNCHES_PER_SECOND = 1 / 120;
/** One attempt, from the first word to the last try. */
export const PUNCH_TIMEOUT_MS = 20_000;
/** Machines whose outside address a relay keeps for another one, of all and of one machine, and for how long. */
export const MEETINGS_MAX = 1_024;
export const MEETINGS_PER_MACHINE_MAX = 8;
export const MEETING_MS_MAX = 30_000;
/** How often one machine may ask a relay what it looks like, at once and for each second. */
export const MEETS_BURST = 16;
export const MEETS_PER_SECOND = 0.5;
/** A machine says that it is alive this often; in a namespace of so many more machines a little less often, */
export const PRESENCE_BEAT_MS = 15_000;
export const PRESENCE_BEAT_MS_MAX = 20_000;
export const PRESENCE_BEAT_STRETCHED_AT = 200;
/** and counts as gone for whoever has heard nothing new of it for this long, by their own clock. */
export const PRESENCE_TTL_MS = 45_000;
/** Nothing new for this long, and it is asked, or others are asked about it. */
export const PRESENCE_DOUBT_MS = 32_000;
/** How often beats are passed on, and what is due is looked at. */
export const PRESENCE_TICK_MS = 1_000;
/** A machine that is suspected has this long to say something new, */
export const SUSPICION_MS = 3_000;
/** and this long when its link was silent before. */
export const SUSPICION_SILENT_MS = 1_000;
/** Members that are asked about a machine which is not reached (SWIM, Das et al. 2002, has k = 3). */
export const PROBED_THROUGH = 3;
/** Members that a machine chooses to pass beats to. A random graph of 3 hangs together. */
export const PRESENCE_NEIGHBOURS = 3;
/** A member that said within this time that it has chosen this machine is passed beats to as well, at most so many. */
export const PRESENCE_CHOOSER_MS = 60_000;
export const PRESENCE_CHOOSERS_MAX = 4;
/** One that has so many is chosen by nobody else for this long. */
export const PRESENCE_FULL_MS = 600_000;
/** Members to which each word of gossip goes; gossipsub aims at 6. */
export const GOSSIP_MESH_MAX = 8;
/** Beats under one statement; then comes another statement. Wire. */
export const BEATS_PER_STATEMENT_MAX = 1_024;
/** A machine says something newer than its last beat at most this often when it is asked. */
export const RAISE_INTERVAL_MS = 1_000;
/** Changes of what a machine says of itself are told at most this often. */
export const STATEMENT_INTERVAL_MS = 500;
/** Highest sequence of a statement: it begins at a time in milliseconds. Wire. */
export const POSITION_SEQ_MAX = 2 ** 47;
/** Longest statement of one machine's presence, most of them in one box, and the longest box. Wire. */
export const STATEMENT_SIZE_BYTES_MAX = 128 * 1024;
export const PRESENCE_STATEMENTS_MAX = 64;
export const PRESENCE_BOX_SIZE_BYTES_MAX = 192 * 1024;
/** Machines that one box suspects, or asks about. Wire. */
export const SUSPECTS_MAX = 64;
/** What one peer may tell of presence, in boxes and statements, at once and for each second. */
export const PRESENCE_PEER_BURST = 3_000;
export const PRESENCE_PEER_PER_SECOND = 200;
/** New statements of one machine that are taken, at once and for each second. */
export const STATEMENTS_BURST = 10;
export const STATEMENTS_PER_SECOND = 1;
/** Suspicions of others that are followed, at once and for each second: so a liar makes little noise. */
export const SUSPICIONS_BURST = 64;
export const SUSPICIONS_PER_SECOND = 2;
/** Answers of a suspected machine that gossip carries; whoever asks it over a link is answered there. */
export const ANSWERS_BURST = 2;
export const ANSWERS_PER_SECOND = 0.1;
/** A statement is asked for, or told to one that has an older one, at most this often. */
export const WANT_INTERVAL_MS = 2_000;
