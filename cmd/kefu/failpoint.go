//go:build failpoints

package main

import (
	"fmt"
	"os"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/failpoint"
)

// A build for crash tests takes its orders from the environment.
func init() {
	if err := failpoint.Arm(os.Getenv("FAILPOINT")); err != nil {
		fmt.Fprintln(os.Stderr, "kefu:", err)
		os.Exit(cli.ExitUsage)
	}
}
