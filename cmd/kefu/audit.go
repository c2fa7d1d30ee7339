package main

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/kefuhq/kefu/internal/broker"
)

// actor is who sits at the terminal, for the audit.
func (c *cli) actor() string {
	name := c.getenv("SUDO_USER")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		} else {
			name = fmt.Sprintf("uid %d", os.Getuid()) // a container need not know its user by name
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// audit writes down what this user does.
func (c *cli) audit(ctx context.Context, conn *broker.Conn, e broker.AuditEntry) error {
	e.Actor = c.actor()
	return conn.Audit(ctx, e)
}

// auditReveal writes down that somebody is shown recipients. It comes before anything is printed.
func (c *cli) auditReveal(ctx context.Context, conn *broker.Conn, appID, what string, count int) error {
	return c.audit(ctx, conn, broker.AuditEntry{Verb: "reveal", AppID: appID, Filter: what, Count: count, Detail: "recipients shown unmasked"})
}
