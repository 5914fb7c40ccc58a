// Holds the gateway's documents to the meta-schemas of their specifications.
//   node validate.mjs DIR    DIR has openrpc.json, openapi.json and asyncapi.json
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import SwaggerParser from "@apidevtools/swagger-parser";
import { Validator } from "@seriousme/openapi-schema-validator";
import { parseOpenRPCDocument, validateOpenRPCDocument } from "@open-rpc/schema-utils-js";
import { Parser } from "@asyncapi/parser";

const dir = process.argv[2];
const read = async (name) => JSON.parse(await readFile(join(dir, name), "utf8"));
const wrong = [];

const openrpc = validateOpenRPCDocument(await read("openrpc.json"));
if (openrpc !== true) wrong.push(`openrpc.json: ${openrpc.message}`);
await parseOpenRPCDocument(await read("openrpc.json")).catch((e) => wrong.push(`openrpc.json: ${e.message}`));

const openapi = await new Validator().validate(await read("openapi.json"));
if (!openapi.valid) wrong.push(`openapi.json: ${JSON.stringify(openapi.errors)}`);
await SwaggerParser.validate(await read("openapi.json")).catch((e) => wrong.push(`openapi.json: ${e.message}`));

const asyncapi = await new Parser().validate(JSON.stringify(await read("asyncapi.json")));
for (const d of asyncapi) {
  if (d.severity === 0) wrong.push(`asyncapi.json: ${d.path.join("/")}: ${d.message}`);
}

for (const line of wrong) console.error(line);
console.log(wrong.length ? "not valid" : "valid: OpenRPC, OpenAPI, AsyncAPI");
process.exit(wrong.length ? 1 : 0);
