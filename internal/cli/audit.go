package cli

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/kefuhq/kefu/internal/broker"
)

// Actor returns the name of the user and of the machine, for the audit.
func (s *Settings) Actor() string {
	name := s.Getenv("SUDO_USER")
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

// Audit writes down what this user does.
func (b *Broker) Audit(ctx context.Context, conn *broker.Conn, e broker.AuditEntry) error {
	e.Actor = b.settings.Actor()
	return conn.Audit(ctx, e)
}
