package pgque_test

import (
	"context"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// Has the test program do nothing but that.
const exitInACall = "PGQUE_EXIT_IN_A_CALL"

func exitInTheMiddleOfACall(server string) {
	client, err := pgque.Connect(ctx, server)
	must(err)
	go func() { _, _ = client.Notification(ctx, math.MaxInt64) }()
	go func() { _, _ = client.Execute(ctx, "select pg_sleep(60)") }()
	time.Sleep(300 * time.Millisecond)
	os.Exit(7)
}

// The process ends while goroutines are in calls.
func TestExitInTheMiddleOfACall(t *testing.T) {
	connect(t)
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	program := exec.CommandContext(limit, os.Args[0])
	program.Env = append(os.Environ(), exitInACall+"=1")
	output, _ := program.CombinedOutput()
	equal(t, program.ProcessState.ExitCode(), 7)
	equal(t, string(output), "")
}
