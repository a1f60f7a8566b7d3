// A scenario's steps, reported as lines of JSON: {"step":..,"ok":true}. The first failure is printed as
// {"step":..,"ok":false,"error":..} and ends the process with code 1.

const STEP_MS = 30_000;

async function step(name, action, limit = STEP_MS) {
  let timer;
  const tooLong = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing for ${limit} ms`)), limit);
  });
  try {
    const result = await Promise.race([action(), tooLong]);
    print({ step: name, ok: true });
    return result;
  } catch (error) {
    print({ step: name, ok: false, error: error.message ?? JSON.stringify(error) });
    process.exit(1);
  } finally {
    clearTimeout(timer);
  }
}

/** The error that a promise rejects with. */
async function refusal(promise) {
  const unexpected = await promise.then((value) => ({ value }), (error) => ({ error }));
  if (!unexpected.error) throw new Error("was not refused");
  return unexpected.error;
}

function equal(found, expected, what) {
  if (found !== expected) throw new Error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

module.exports = { equal, print, refusal, step };
