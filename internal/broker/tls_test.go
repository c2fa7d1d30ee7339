package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

// authority signs certificates for 127.0.0.1 and keeps everything in files.
type authority struct {
	t    *testing.T
	dir  string
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	cert, key, file, _ := a.make(name,
		&x509.Certificate{IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign}, nil)
	a.cert, a.key, a.file = cert, key, file
	return a
}

func (a *authority) make(
	name string, template *x509.Certificate, signer *authority,
) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := template, key
	if signer != nil {
		parent, parentKey = signer.cert, signer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	require.NoError(a.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	certFile, keyFile := filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	require.NoError(a.t, os.WriteFile(certFile,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(a.t, os.WriteFile(keyFile,
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key, certFile, keyFile
}

// issue signs a certificate and returns its files.
func (a *authority) issue(name string) (certFile, keyFile string) {
	_, _, certFile, keyFile = a.make(name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	return certFile, keyFile
}

func TestConnectOverTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	certFile, keyFile := ours.issue("server")
	serverCert, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(ours.cert)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLSVerify: true,
		TLSTimeout: 5,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{serverCert}, ClientCAs: clients,
			ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		},
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(brokertest.Patience))
	address := s.Addr().String()

	myCert, myKey := ours.issue("worker")
	strangeCert, strangeKey := theirs.issue("stranger")
	marked := func(file string) string { // saved by an editor on Windows
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		name := filepath.Join(t.TempDir(), "marked.pem")
		require.NoError(t, os.WriteFile(name, append([]byte("\ufeff"), content...), 0o600))
		return name
	}
	for _, c := range []struct {
		name string
		o    broker.Options
		want string // error; empty for none
	}{
		{"with our authority and a certificate of it",
			broker.Options{
				URL: "nats://" + address, CAFile: ours.file, CertFile: myCert, KeyFile: myKey,
			},
			""},
		{"likewise by the scheme",
			broker.Options{
				URL: "tls://" + address, CAFile: ours.file, CertFile: myCert, KeyFile: myKey,
			},
			""},
		{"with byte order marks before all",
			broker.Options{
				URL: "nats://" + address, CAFile: marked(ours.file), CertFile: marked(myCert),
				KeyFile: marked(myKey),
			},
			""},
		{"with another authority",
			broker.Options{
				URL: "nats://" + address, CAFile: theirs.file, CertFile: myCert, KeyFile: myKey,
			},
			"certificate"},
		{"with the system's authorities",
			broker.Options{URL: "tls://" + address, CertFile: myCert, KeyFile: myKey},
			"certificate"},
		{"without a certificate",
			broker.Options{URL: "nats://" + address, CAFile: ours.file}, "no NATS server answers"},
		{"with a certificate of somebody else",
			broker.Options{
				URL: "nats://" + address, CAFile: ours.file, CertFile: strangeCert,
				KeyFile: strangeKey,
			},
			"no NATS server answers"},
		{"with a file that is not there",
			broker.Options{URL: "nats://" + address, CAFile: "/nowhere/ca.pem"}, "/nowhere/ca.pem"},
		{"with a file that holds no certificate",
			broker.Options{URL: "nats://" + address, CAFile: myKey}, "no PEM certificate in it"},
		{"with a key of another certificate",
			broker.Options{
				URL: "nats://" + address, CAFile: ours.file, CertFile: myCert, KeyFile: strangeKey,
			},
			"private key does not match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.FirstWait = 2 * time.Second
			conn, err := broker.Connect(t.Context(), c.o)
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			state, err := conn.NC.TLSConnectionState()
			require.NoError(t, err)
			require.GreaterOrEqual(t, state.Version, uint16(tls.VersionTLS12))
			conn.Close()
		})
	}
}
