import { zDoctorView } from '../../protocol/doctor-view.ts';
import { zPeersAnswer } from './answers.ts';
import type { Doctor } from './doctor.ts';
import type { App } from './server.ts';

/** The health of the store. For the owner alone. */
export function doctorRoutes(app: App, doctor: Doctor): void {
  app.get('/api/doctor', { schema: { response: { 200: zDoctorView } } }, async () => doctor.examine());
  app.get('/api/doctor/peers', { schema: { response: { 200: zPeersAnswer } } }, async () => ({
    peers: await doctor.peers(),
  }));
  app.post('/api/doctor/repair', { schema: { response: { 200: zDoctorView } } }, async () => doctor.repair());
  app.post('/api/doctor/acknowledgement', async (_request, reply) => {
    await doctor.acknowledge();
    return reply.code(204).send();
  });
}
