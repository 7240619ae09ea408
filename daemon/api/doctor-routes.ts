import { zDoctorView } from '../../protocol/doctor-view.ts';
import type { Doctor } from './doctor.ts';
import type { App } from './server.ts';

/** The health of the store. For the owner alone. */
export function doctorRoutes(app: App, doctor: Doctor): void {
  app.get('/api/doctor', { schema: { response: { 200: zDoctorView } } }, async () => doctor.examine());
  app.post('/api/doctor/repair', { schema: { response: { 200: zDoctorView } } }, async () => doctor.repair());
  app.post('/api/doctor/acknowledgement', async (_request, reply) => {
    await doctor.acknowledge();
    return reply.code(204).send();
  });
}
