"""The Python API, one module a noun: `analyze`, `Result`; `Detector`, `Face`, `Voice`; `run`, `System`; `listen`.

Use it from the package itself, which loads each part when it is first used: `import bimodal; bimodal.analyze(…)`.
"""
