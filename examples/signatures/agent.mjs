// Check the signature of the agent `http` in JavaScript: X-Crocbot-Signature.
// AGENT_SECRET=change-me PORT=8080 node agent.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

function isSigned(body, header) {
  const digest = createHmac("sha256", process.env.AGENT_SECRET).update(body);
  const expected = Buffer.from(`sha256=${digest.digest("hex")}`);
  const given = Buffer.from(header ?? "");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  // The bytes as they came: JSON that is written again has another signature.
  const body = Buffer.concat(chunks);
  if (!isSigned(body, request.headers["x-crocbot-signature"])) {
    response.writeHead(403).end();
    return;
  }
  response.writeHead(200, { "Content-Type": "text/plain" }).end("signed");
}).listen(Number(process.env.PORT ?? 8080), "127.0.0.1");
