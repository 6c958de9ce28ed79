import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { loadDriver } from "../../../providers/kit/driver.ts";

const isDeno = "Deno" in globalThis;
const cure = isDeno ? "deno add npm:nowhere" : "bun" in process.versions ? "bun add nowhere" : "npm install nowhere";
// The specifier is no literal, so that nobody looks for it before it is asked for.
const nowhere = (name = "nowhere-to-be-found") => import(name);

test("loadDriver() loads by name, and asks for nothing else", async () => {
  const driver = await loadDriver<{ join: unknown }>("path", () => import("node:path"), () => assert.fail());
  assert.equal(typeof driver.join, "function");
});

test("loadDriver() names the cure for the runtime, when there is no such package", async () => {
  await assert.rejects(
    loadDriver("nowhere", () => nowhere(), () => nowhere("nowhere-either")),
    (error: Error) => {
      assert.equal(error.message, `the driver "nowhere" is not installed: ${cure}`);
      return true;
    },
  );
});

test("loadDriver() takes the package from npm in Deno, and only there", { skip: !isDeno }, async () => {
  const driver = await loadDriver<{ sep: string }>("path", () => nowhere(), () => import("node:path"));
  assert.equal(typeof driver.sep, "string");
});

test("loadDriver() tells what a driver that is there has failed with", async () => {
  const broken = () => Promise.reject(new Error("its native part is of another version"));
  await assert.rejects(loadDriver("broken", broken, broken), /native part/);
});
