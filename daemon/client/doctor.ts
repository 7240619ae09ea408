import { zDoctorView } from '../../protocol/doctor-view.ts';
import { zPeersAnswer } from '../api/answers.ts';
import type { Doctor } from '../api/doctor.ts';
import type { Wire } from './wire.ts';

/** The Doctor contract over the socket. */
export function createDoctor(wire: Wire): Doctor {
  return {
    examine: async () => wire.ask({ method: 'GET', path: '/api/doctor', answer: zDoctorView }),
    repair: async () => wire.ask({ method: 'POST', path: '/api/doctor/repair', answer: zDoctorView }),
    peers: async () =>
      (await wire.ask({ method: 'GET', path: '/api/doctor/peers', answer: zPeersAnswer })).peers,
    acknowledge: async () => wire.tell({ method: 'POST', path: '/api/doctor/acknowledgement' }),
  };
}
