// node validate_gltf.cjs <folder with node_modules> <file>: prints the validator's report as JSON.
const fs = require("fs");
const path = require("path");
const [folder, file] = process.argv.slice(2);
const validator = require(require.resolve("gltf-validator", { paths: [folder] }));
const readExternal = (uri) => Promise.resolve(new Uint8Array(fs.readFileSync(path.resolve(path.dirname(file), decodeURIComponent(uri)))));
validator
  .validateBytes(new Uint8Array(fs.readFileSync(file)), { uri: path.basename(file), maxIssues: 100, externalResourceFunction: readExternal })
  .then((report) => process.stdout.write(JSON.stringify(report)));
