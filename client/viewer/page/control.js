// Requests to the daemon, through the gateway.

/** The daemon said no, or nobody answered; `problems` has one line for each thing that is wrong. */
export class Refused extends Error {
  constructor(error) {
    super(error.message);
    this.code = error.code;
    this.problems = error.problems ?? [];
  }
}

/** The result of one command; Refused when it was not carried out. */
export function ask(command, values = {}) {
  return post("/control", { command, ...values });
}

/** What the viewer answers to a request; Refused when it was not carried out. */
export async function post(path, body) {
  let reply;
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    reply = await response.json();
  } catch (error) {
    throw new Refused({ code: "unavailable", message: `the viewer does not answer (${error.message})` });
  }
  if (!reply.ok) throw new Refused(reply.error);
  return reply;
}
