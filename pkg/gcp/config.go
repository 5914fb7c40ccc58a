package gcp

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"codexgateway.dev/pkg/gcp/pubsubbus"
)

// Sources of secrets.
const (
	// SecretsManager reads the newest versions from Secret Manager.
	SecretsManager = "manager"
	// SecretsEnv reads variables and files, which Cloud Run can fill from Secret
	// Manager by itself.
	SecretsEnv = "env"
)

// Ways to trust a push request.
const (
	// PushVerify checks the OIDC token of every request.
	PushVerify = string(pubsubbus.PushVerify)
	// PushIAM leaves the signature to Cloud Run, which has checked it and taken
	// it away, and checks the rest: only for a service that requires authentication.
	PushIAM = string(pubsubbus.PushIAM)
	// PushNone lets everybody in: only with the Pub/Sub emulator, which sends no token.
	PushNone = string(pubsubbus.PushOpen)
)

// Config is the platform's part of a service's configuration.
type Config struct {
	Project  string `env:"GOOGLE_CLOUD_PROJECT,required" doc:"Google Cloud project that holds everything; any id on emulators."`
	Database string `env:"CODEXGW_FIRESTORE_DATABASE,default=(default)" doc:"Firestore database."`
	Bucket   string `env:"CODEXGW_BUCKET,required" doc:"Cloud Storage bucket of artifacts and workspaces."`

	Secrets    string `env:"CODEXGW_SECRETS,default=manager" oneof:"manager,env" doc:"Where secrets come from: Secret Manager, or CODEXGW_SECRET_<NAME> variables and files that Cloud Run fills."`
	SecretsDir string `env:"CODEXGW_SECRETS_DIR" doc:"Directory with one file per secret, read when CODEXGW_SECRETS is env."`

	SignerEmail   string `env:"CODEXGW_SIGNER_EMAIL" doc:"Service account that signs links to artifacts through the IAM Credentials API; not set: the one the service runs as."`
	SignerKeyFile string `env:"CODEXGW_SIGNER_KEY_FILE" doc:"Service-account key file (JSON) to sign links with instead of the IAM Credentials API."`

	PubSubEmulator    string `env:"PUBSUB_EMULATOR_HOST" doc:"host:port of a Pub/Sub emulator."`
	FirestoreEmulator string `env:"FIRESTORE_EMULATOR_HOST" doc:"host:port of a Firestore emulator."`
	StorageEmulator   string `env:"STORAGE_EMULATOR_HOST" doc:"host:port of a Cloud Storage emulator, with or without http://."`
	SecretsEmulator   string `env:"SECRET_MANAGER_EMULATOR_HOST" doc:"host:port of a Secret Manager server that speaks plaintext gRPC."`

	// StorageLinkHost is for networks of containers, whose names mean nothing to
	// the machine that a link is opened on.
	StorageLinkHost string `env:"CODEXGW_STORAGE_LINK_HOST" doc:"host:port that links to artifacts lead to instead of STORAGE_EMULATOR_HOST."`

	Push Push `env:",prefix=CODEXGW_PUSH_"`
}

// Push is how subscriptions are fed by HTTP requests of Pub/Sub.
type Push struct {
	Subscriptions []string `env:"SUBSCRIPTIONS" doc:"Subscriptions that Pub/Sub pushes to this service; the others are pulled."`
	Auth          string   `env:"AUTH,default=verify" oneof:"verify,iam,none" doc:"How a push is trusted: its OIDC token is verified here, Cloud Run's IAM has checked it, or not at all (Pub/Sub emulator only)."`
	Audience      string   `env:"AUDIENCE" doc:"Audience that the push subscription's token must have."`
	Account       string   `env:"ACCOUNT" doc:"E-mail of the service account that the push subscription's token must be of."`
	KeysURL       string   `env:"KEYS_URL" doc:"Where the keys of the tokens are; not set: Google's."`
}

// Emulated reports whether the platform is on emulators.
func (c *Config) Emulated() bool { return c.PubSubEmulator != "" }

// Validate implements chassis.Validator.
func (c *Config) Validate() []error {
	var wrong []error
	refuse := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	emulators := map[string]string{
		"PUBSUB_EMULATOR_HOST": c.PubSubEmulator, "FIRESTORE_EMULATOR_HOST": c.FirestoreEmulator, "STORAGE_EMULATOR_HOST": c.StorageEmulator,
	}
	if c.Secrets == SecretsManager || c.SecretsEmulator != "" {
		emulators["SECRET_MANAGER_EMULATOR_HOST"] = c.SecretsEmulator
	}
	set := 0
	for name, value := range emulators {
		if value == "" {
			continue
		}
		set++
		if _, _, err := net.SplitHostPort(emulatorAddr(value)); err != nil {
			refuse("%s must be host:port", name)
		}
	}
	if set != 0 && set != len(emulators) {
		// Jobs of a test in the documents of a real project, or the reverse.
		refuse("PUBSUB_EMULATOR_HOST, FIRESTORE_EMULATOR_HOST, STORAGE_EMULATOR_HOST and, unless CODEXGW_SECRETS is env, " +
			"SECRET_MANAGER_EMULATOR_HOST must be set together or not at all")
	}
	if c.StorageLinkHost != "" && c.StorageEmulator == "" {
		refuse("CODEXGW_STORAGE_LINK_HOST works only with STORAGE_EMULATOR_HOST")
	}
	if c.SignerEmail != "" && c.SignerKeyFile != "" {
		refuse("CODEXGW_SIGNER_EMAIL and CODEXGW_SIGNER_KEY_FILE exclude each other: the key file names its account")
	}
	if len(c.Push.Subscriptions) > 0 {
		wrong = append(wrong, c.Push.validate(c.PubSubEmulator != "")...)
	}
	return wrong
}

func (p *Push) validate(emulated bool) []error {
	var wrong []error
	if p.Auth != PushNone && p.Audience == "" {
		wrong = append(wrong, errors.New("CODEXGW_PUSH_AUDIENCE is required unless CODEXGW_PUSH_AUTH is none"))
	}
	if p.Auth != PushNone && p.Account == "" {
		wrong = append(wrong, errors.New("CODEXGW_PUSH_ACCOUNT is required unless CODEXGW_PUSH_AUTH is none"))
	}
	if p.Auth == PushNone && !emulated {
		wrong = append(wrong, errors.New("CODEXGW_PUSH_AUTH may be none only with PUBSUB_EMULATOR_HOST: anybody could feed the service"))
	}
	return wrong
}

// emulatorAddr is host:port of an emulator's address in any of its usual forms.
func emulatorAddr(v string) string {
	return strings.TrimSuffix(strings.TrimPrefix(v, "http://"), "/")
}
