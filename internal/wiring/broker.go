// Package wiring turns a configuration into the broker's options, the specification of the
// JetStream objects and an app's API client. Commands and daemons share it.
package wiring

import (
	"fmt"
	"net"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

// BrokerOptions returns how to connect as the configuration says. With an embedded broker the
// address is where the process that runs it listens. An error is one of the configuration.
func BrokerOptions(cfg *config.Config) (broker.Options, error) {
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
		return options, fmt.Errorf("the embedded broker picks a free port (nats.listen %s): "+
			"name the one it printed in nats.url", cfg.NATS.Listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	// The embedded broker has neither TLS nor users, so the files are not used.
	return broker.Options{URL: "nats://" + net.JoinHostPort(host, port)}, nil
}

// BrokerSpec returns what the JetStream objects must be for a configuration.
func BrokerSpec(cfg *config.Config) broker.Spec {
	spec := broker.Spec{Replicas: cfg.NATS.Replicas, LedgerKeep: cfg.Worker.Ledger.Keep}
	for _, app := range cfg.Apps {
		spec.Apps = append(spec.Apps, broker.AppSpec{
			AppID:           app.AppID,
			LiveShards:      app.LiveShards,
			DuplicateWindow: app.DuplicateWindow,
			QueueMessages:   app.Queue.Messages,
			QueueBytes:      int64(app.Queue.Bytes),
		})
	}
	return spec
}
