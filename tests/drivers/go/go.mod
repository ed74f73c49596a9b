module github.com/libpgque/libpgque/tests/drivers/go

go 1.21

require github.com/libpgque/libpgque/bindings-c/go v0.0.0

require github.com/lib/pq v1.10.9

replace github.com/libpgque/libpgque/bindings-c/go => ../../../bindings-c/go
