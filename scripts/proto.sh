#!/usr/bin/env bash
# Generates the Python code by which tests read remote-write requests: proto/remote.proto -> tests/_generated/.
# The service itself needs no generated code.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
mkdir -p tests/_generated
"$python" -m grpc_tools.protoc -Iproto --python_out=tests/_generated --pyi_out=tests/_generated proto/remote.proto
# The stubs leave the type of mappings open, which strict checking does not allow.
sed -i 's/_Mapping\]/_Mapping[str, object]]/g' tests/_generated/remote_pb2.pyi
