// Fills the database at MONGO_URL with the tests' workspace, and ends.

const { open } = require("./monolith/database");
const { seed } = require("./workspace");

async function main() {
  const database = await open(process.env.MONGO_URL);
  await seed(database);
  await database.client.close();
  console.log(JSON.stringify({ ready: "seeded" }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
