import type { CheckView, DamageView } from '../../protocol/doctor-view.ts';
import type { Finding } from '../store/care/findings.ts';
import type { DamageReport, StoreState } from '../store/care/store-care.ts';

const FINDINGS_TOLD_MAX = 20;
const REPAIR = 'Run `patchcord doctor --repair`.';
const ACKNOWLEDGE = 'When you have read this, `patchcord doctor --ack` ends the warning.';

/** What a look at the store comes to, a line a check. */
export function storeChecks(state: StoreState, repaired: boolean): CheckView[] {
  const { findings, records, quarantined, report } = state;
  const sum = [...records.values()].reduce((total, count) => total + count, 0);
  const kinds = [...records].map(([kind, count]) => `${kind} ${count}`).join(', ');
  const checks: CheckView[] = [
    { name: 'records', state: 'ok', text: `${sum} records: ${kinds === '' ? 'none yet' : kinds}` },
    findings.length === 0
      ? { name: 'store', state: 'ok', text: 'every record opens, and they agree' }
      : {
          name: 'store',
          state: repaired ? 'warn' : 'fail',
          text: findingsText(findings),
          ...(!repaired && { remedy: REPAIR }),
        },
  ];
  if (quarantined.count > 0) {
    const more = quarantined.count > quarantined.keys.length ? ' ...' : '';
    checks.push({
      name: 'quarantine',
      state: 'warn',
      text: `${quarantined.count} records that do not open are kept: ${quarantined.keys.join(', ')}${more}`,
    });
  }
  if (report) checks.push(reportCheck(report));
  return checks;
}

function reportCheck(report: DamageReport): CheckView {
  const since = new Date(report.sinceMs).toISOString();
  const text = `since ${since}: ${findingsText(report.findings)}`;
  if (report.seenAtMs !== undefined) return { name: 'damage', state: 'ok', text: `seen, ${text}` };
  return { name: 'damage', state: 'fail', text, remedy: ACKNOWLEDGE };
}

/** Findings in one line, what is gone first. */
function findingsText(findings: readonly Finding[]): string {
  const order = ['lost', 'damaged', 'mended'];
  const sorted = [...findings].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  const told = sorted.slice(0, FINDINGS_TOLD_MAX).map((one) => `${one.kind}: ${one.what} (${one.count})`);
  return sorted.length > told.length
    ? `${told.join('; ')}; and ${sorted.length - told.length} more`
    : told.join('; ');
}

export function damageView({ sinceMs, atMs, findings }: DamageReport): DamageView {
  return {
    since: new Date(sinceMs).toISOString(),
    last: new Date(atMs).toISOString(),
    findings: findings.map(({ kind, what, count }) => ({ kind, what, count })),
  };
}

/** The warning in an inbox. */
export function damageWarning(report: DamageReport): string {
  const lost = report.findings.filter(({ kind }) => kind === 'lost');
  const since = new Date(report.sinceMs).toISOString();
  const what = lost.length > 0 ? findingsText(lost) : 'what was damaged could be put right';
  return (
    `The store of this machine was damaged (noticed ${since}): ${what}. Messages may be missing here. Tell your ` +
    'human: `patchcord doctor` says more.'
  );
}
