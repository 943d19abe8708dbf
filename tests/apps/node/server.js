const http = require("node:http");
const ms = require("ms");

const server = http.createServer((_, response) => {
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.end(`Hello from Node ${process.version}, where 60000 ms is ${ms(60000, { long: true })}\n`);
});
server.listen(process.env.PORT, "0.0.0.0", () => console.log(`listening on ${process.env.PORT}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
