package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/textfile"
)

// tls is what the files of o ask for: none if there are none. A CA or a
// certificate, like the scheme tls://, makes nats.go insist on TLS 1.2 or newer.
// It reads the files at every connect: certificates are renewed while a worker
// runs. nats.RootCAs and nats.ClientCert do so, too, but skip what a byte order
// mark stands before: of a bundle they would miss the first authority silently.
func (o Options) tls() []nats.Option {
	var authorities nats.RootCAsHandler
	var certificate nats.TLSCertHandler
	if o.CAFile != "" {
		authorities = o.authorities
	}
	if o.CertFile != "" {
		certificate = o.certificate
	}
	if authorities == nil && certificate == nil {
		return nil
	}
	return []nats.Option{nats.ClientTLSConfig(certificate, authorities)}
}

// authorities are those of CAFile.
func (o Options) authorities() (*x509.CertPool, error) {
	content, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(textfile.Trim(content)) {
		return nil, fmt.Errorf("authorities: %s: no PEM certificate in it", o.CAFile)
	}
	return pool, nil
}

// certificate is the one in CertFile, with its key in KeyFile.
func (o Options) certificate() (tls.Certificate, error) {
	cert, certErr := os.ReadFile(o.CertFile)
	key, keyErr := os.ReadFile(o.KeyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		return tls.Certificate{}, fmt.Errorf("client certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(textfile.Trim(cert), textfile.Trim(key))
	if err != nil {
		return tls.Certificate{},
			fmt.Errorf("client certificate: %s, %s: %w", o.CertFile, o.KeyFile, err)
	}
	return pair, nil
}
