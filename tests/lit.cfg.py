"""The lit suite: .tt and .tir files with RUN lines, and .test scripts."""
import os
import runpy
import shutil

import lit.formats

site = runpy.run_path(lit_config.params["site"])
config.name = "titan"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".tt", ".tir", ".test"]
config.excludes = ["Inputs", "unit", "fuzz", "golden", "ptx"]
config.test_source_root = os.path.join(site["source"], "tests")
config.test_exec_root = os.path.join(site["build"], "tests", "lit")

config.environment["PATH"] = os.pathsep.join(
    [site["llvm_bin"], site["build"], os.environ["PATH"]])
config.environment["FILECHECK_OPTS"] = "--enable-var-scope"
if site["tsan_options"]:
    config.environment["TSAN_OPTIONS"] = site["tsan_options"]
for tool in ("titanc", "titan-opt", "titan-run", "titan-smith", "titan"):
    config.substitutions.append(
        ("%" + tool + r"\b", os.path.join(site["build"], tool)))
config.substitutions.append(("%source", site["source"]))
config.substitutions.append(("%build", site["build"]))
if site["ptxas"] and "NOTFOUND" not in site["ptxas"]:
    config.available_features.add("ptxas")
    config.substitutions.append(("%ptxas", site["ptxas"]))
if site["cmocka"] == "1":
    config.available_features.add("cmocka")
if shutil.which("mpirun"):
    config.available_features.add("mpirun")
    config.environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    config.environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
