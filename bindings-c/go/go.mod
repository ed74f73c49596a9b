module github.com/libpgque/libpgque/bindings-c/go

go 1.21
