package main

import (
	"context"
	"net"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

// commandWait is how long a command waits for the broker before it says that there is none: somebody sits in front of it.
const commandWait = 5 * time.Second

// broker connects a command to the broker of the configuration. The caller closes the connection. A daemon, which waits for its
// broker as long as it takes, starts from brokerOptions itself.
func (c *cli) broker(ctx context.Context) (*broker.Conn, error) {
	return c.brokerWithin(ctx, commandWait)
}

func (c *cli) brokerWithin(ctx context.Context, wait time.Duration) (*broker.Conn, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	options, err := brokerOptions(cfg)
	if err != nil {
		return nil, err
	}
	options.Name = "kefu command"
	options.FirstWait = wait
	return broker.Connect(ctx, options)
}

// brokerOptions is how to connect as the configuration says. With an embedded broker it is the address where the process that runs it
// listens.
func brokerOptions(cfg *config.Config) (broker.Options, error) {
	options := broker.Options{
		URL:       cfg.NATS.URL,
		CredsFile: cfg.NATS.CredsFile,
		CAFile:    cfg.NATS.TLS.CAFile,
		CertFile:  cfg.NATS.TLS.CertFile,
		KeyFile:   cfg.NATS.TLS.KeyFile,
	}
	if !cfg.NATS.IsEmbedded() {
		return options, nil
	}
	host, port, err := net.SplitHostPort(cfg.NATS.Listen)
	if err != nil {
		return options, err
	}
	if port == "0" {
		return options, usagef("the embedded broker picks a free port (nats.listen %s): name the one it printed in nats.url", cfg.NATS.Listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	// The files are for a broker elsewhere; the embedded one knows neither TLS nor users.
	return broker.Options{URL: "nats://" + net.JoinHostPort(host, port)}, nil
}
