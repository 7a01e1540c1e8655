// A gRPC program on @grpc/grpc-js-xds that serves and calls as it is told, one JSON command a line.
//
// The protocol is in tests/interop/README.md. The folder with node_modules and echo.proto's path are the arguments.

'use strict';

const { createRequire } = require('node:module');
const readline = require('node:readline');

const [modules, proto] = process.argv.slice(2);
const load = createRequire(`${modules}/`);
const grpc = load('@grpc/grpc-js');
const xds = load('@grpc/grpc-js-xds');
const loader = load('@grpc/proto-loader');

xds.register();

const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
const service = grpc.loadPackageDefinition(loader.loadSync(proto, options)).proto.EchoTestService.service;
const codes = Object.fromEntries(Object.entries(grpc.status).filter(([name]) => isNaN(name)).map(([k, v]) => [v, k]));

const MESSAGES_MAX = 5;

/** What became of many calls. */
class Tally {
  constructor() {
    this.counts = { codes: {}, versions: {}, identities: {} };
    this.errors = [];
  }

  add(code, message) {
    const count = (what, key) => (this.counts[what][key] = (this.counts[what][key] ?? 0) + 1);
    count('codes', code);
    if (code === 'OK') {
      for (const line of message.split('\n')) {
        const [, key, value] = /^([^=]*)=(.*)$/.exec(line) ?? [];
        if (key === 'ServiceVersion') count('versions', value);
        if (key === 'PeerIdentity') count('identities', value);
      }
      return;
    }
    const text = `${code}: ${message}`;
    if (!this.errors.includes(text) && this.errors.length < MESSAGES_MAX) this.errors.push(text);
  }

  answer() {
    return { ...this.counts, errors: this.errors };
  }
}

/** A channel, with the calls that are made on it. */
class Caller {
  constructor(target, credentials) {
    const insecure = grpc.credentials.createInsecure();
    const chosen = credentials === 'xds' ? new xds.XdsChannelCredentials(insecure) : insecure;
    this.client = new grpc.Client(target, chosen);
    this.running = null;
  }

  one(command, tally) {
    const metadata = new grpc.Metadata({ waitForReady: command.wait_for_ready ?? false });
    for (const [key, value] of Object.entries(command.metadata ?? {})) metadata.set(key, value);
    const deadline = Date.now() + (command.timeout_ms ?? 5000);
    const { Echo } = service;
    return new Promise((resolve) => {
      const done = (error, response) => {
        if (error) tally.add(codes[error.code] ?? String(error.code), error.details ?? '');
        else tally.add('OK', response.message);
        resolve();
      };
      const method = command.method ?? '/proto.EchoTestService/Echo';
      const request = { message: 'hello' };
      const { requestSerialize, responseDeserialize } = Echo;
      this.client.makeUnaryRequest(
        method, requestSerialize, responseDeserialize, request, metadata, { deadline }, done);
    });
  }

  async many(command) {
    const tally = new Tally();
    const begun = performance.now();
    let next = 0;
    const work = async () => {
      while (next < (command.count ?? 1)) {
        const due = command.qps ? begun + (next * 1000) / command.qps : 0;
        next += 1;
        if (due) await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
        await this.one(command, tally);
      }
    };
    await Promise.all(Array.from({ length: command.concurrency ?? 1 }, work));
    return tally.answer();
  }

  start(command) {
    const running = { tally: new Tally(), stopped: false };
    running.ended = (async () => {
      let due = performance.now();
      while (!running.stopped) {
        await this.one(command, running.tally);
        due = Math.max(due + (command.interval_ms ?? 10), performance.now());
        await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
      }
    })();
    this.running = running;
  }

  async stop() {
    const { running } = this;
    this.running = null;
    running.stopped = true;
    await running.ended;
    return running.tally.answer();
  }
}

const callers = new Map();
const servers = new Map();

function caller(command) {
  if (!callers.has(command.channel)) {
    callers.set(command.channel, new Caller(command.target, command.credentials ?? 'xds'));
  }
  return callers.get(command.channel);
}

/** The SPIFFE identities of a certificate, from a text such as `URI:spiffe://…, DNS:…`. */
function identities(call) {
  const names = call.getAuthContext()?.sslPeerCertificate?.subjectaltname ?? '';
  const prefix = 'URI:';
  const uris = names.split(', ').filter((name) => name.startsWith(prefix));
  return uris.map((name) => name.slice(prefix.length)).filter((name) => name.startsWith('spiffe://'));
}

function implementation(command) {
  return {
    Echo(call, callback) {
      const lines = [`ServiceVersion=${command.version ?? ''}`, `Hostname=${command.hostname ?? ''}`];
      lines.push(...identities(call).map((name) => `PeerIdentity=${name}`));
      callback(null, { message: lines.map((line) => `${line}\n`).join('') });
    },
  };
}

/** The contents of each `Any` in a message of the admin service, whose definition grpc-js-xds keeps to itself. */
async function clientStatus() {
  const server = new grpc.Server();
  grpc.addAdminServicesToServer(server);
  const bound = (resolve, reject) => server.bindAsync(
    '127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port)));
  const port = await new Promise(bound);
  const deps = `${load.resolve('@grpc/grpc-js-xds').replace(/build\/src\/index\.js$/, '')}deps`;
  const includeDirs = ['envoy-api', 'xds', 'protoc-gen-validate', 'googleapis'].map((name) => `${deps}/${name}`);
  const definition = loader.loadSync('envoy/service/status/v3/csds.proto', { ...options, includeDirs });
  const status = grpc.loadPackageDefinition(definition).envoy.service.status.v3;
  const client = new status.ClientStatusDiscoveryService(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const deadline = Date.now() + 5000;
  try {
    return await new Promise((resolve, reject) => client.FetchClientStatus(
      {}, { deadline }, (error, response) => (error ? reject(error) : resolve(response))));
  } finally {
    client.close();
    server.forceShutdown();
  }
}

const operations = {
  about() {
    const { version } = load('@grpc/grpc-js-xds/package.json');
    const core = load('@grpc/grpc-js/package.json').version;
    return { program: 'grpc-js', version: `${core} with grpc-js-xds ${version}`, runtime: `Node ${process.versions.node}` };
  },

  serve(command) {
    const insecure = grpc.ServerCredentials.createInsecure();
    const managed = command.xds ?? true;
    const server = managed ? new xds.XdsServer() : new grpc.Server();
    server.addService(service, implementation(command));
    servers.set(command.address, server);
    const chosen = managed ? new xds.XdsServerCredentials(insecure) : insecure;
    const bound = command.timeout_ms ?? 10000;
    return new Promise((resolve) => {
      const late = setTimeout(
        () => resolve({ serving: false, error: `${command.address} is not bound after ${bound} ms` }), bound);
      server.bindAsync(command.address, chosen, (error) => {
        clearTimeout(late);
        resolve(error ? { serving: false, error: error.message } : { serving: true });
      });
    });
  },

  'stop-server'(command) {
    servers.get(command.address).forceShutdown();
    servers.delete(command.address);
    return {};
  },

  call(command) {
    if (command.qps != null && command.qps < 1) {
      throw new RangeError(`qps ${command.qps}: no rate; leave it out for none, or give 1 or more`);
    }
    return caller(command).many(command);
  },

  load(command) {
    caller(command).start(command);
    return { started: true };
  },

  stop: (command) => callers.get(command.channel).stop(),

  async close(command) {
    const closing = callers.get(command.channel);
    callers.delete(command.channel);
    if (closing.running) await closing.stop();
    closing.client.close();
    return {};
  },

  async csds() {
    const { config } = await clientStatus();
    const resources = config.flatMap((client) => client.generic_xds_configs).map((resource) => ({
      // grpc-js-xds leaves out what comes before the slash.
      type_url: resource.type_url.includes('/') ? resource.type_url : `type.googleapis.com/${resource.type_url}`,
      name: resource.name,
      status: resource.client_status,
      version: resource.version_info,
      config_base64: (resource.xds_config?.value ?? Buffer.alloc(0)).toString('base64'),
    }));
    return { resources };
  },
};

async function carryOut(command) {
  let answer;
  try {
    answer = await operations[command.op](command);
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify({ id: command.id, ...answer })}\n`);
}

const commands = readline.createInterface({ input: process.stdin });
commands.on('line', (line) => carryOut(JSON.parse(line)));
commands.on('close', () => process.exit(0));
