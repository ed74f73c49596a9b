module github.com/libpgque/libpgque/tests/demo/worker-go

go 1.21

require github.com/libpgque/libpgque/bindings-c/go v0.0.0

replace github.com/libpgque/libpgque/bindings-c/go => ../../../bindings-c/go
