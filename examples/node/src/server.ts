import http from "node:http";
import ms from "ms";
import { greeting } from "greeting";

const server = http.createServer((_request, response) => {
  response.end(`${greeting("Node.js")} ${process.version}; a day has ${ms("1d")} ms\n`);
});
server.listen(Number(process.env.PORT));
