const http = require('http'), ms = require('ms');
http.createServer((request, response) => response.end(`Hello from yarn; a day has ${ms('1d')} ms\n`)).listen(Number(process.env.PORT));
