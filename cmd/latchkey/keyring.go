package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/internal/audit"
	"latchkey/internal/config"
	"latchkey/internal/token"
)

// rotationLead is how long a new key or secret is known before it is used: time to reach every server, and for other
// services to fetch the key.
const rotationLead = time.Hour

// reloadInterval is how often a running server looks at the files of its keys.
const reloadInterval = 10 * time.Second

// urgentLead is rotationLead where the present key or secret was stolen: time for every server that shares the files to
// look at them, for one that does not know a key yet refuses what another one has signed with it.
const urgentLead = 2 * reloadInterval

// refreshSecretFile is the secret that development makes, beside the signing keys.
const refreshSecretFile = "refresh.secret"

// errSecretsInEnvironment says that there is no file of refresh secrets: they cannot change while the process runs.
var errSecretsInEnvironment = errors.New("the refresh secrets come from LATCHKEY_REFRESH_SECRET itself")

// errSecretsInPipe says that LATCHKEY_REFRESH_SECRET_FILE names no regular file, which can be read once only.
var errSecretsInPipe = errors.New("LATCHKEY_REFRESH_SECRET_FILE names no regular file, so the refresh secrets were read once")

// keyring keeps the keys of a server as the files have them.
type keyring struct {
	config  *config.Config
	access  *token.Issuer
	refresh *token.RefreshKeys
	audit   *audit.Log
	logger  *slog.Logger
	stale   prometheus.Gauge
	now     func() time.Time

	// Only reload uses these.
	keys    token.Keys             // in force
	secrets []config.RefreshSecret // as they were read
	inForce []config.RefreshSecret // as they are used
	fault   string                 // what the last reload found wrong
}

// openKeyring loads the keys and secrets. What development may make, it makes.
func openKeyring(c *config.Config, log *audit.Log, logger *slog.Logger, registry prometheus.Registerer, now func() time.Time) (*keyring, error) {
	k := &keyring{config: c, audit: log, logger: logger, now: now, stale: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "latchkey_keys_stale",
		Help: "1 while the files of the keys have a fault, so that the server goes on with what it had; else 0.",
	})}
	registry.MustRegister(k.stale)
	var err error
	if k.keys, err = openKeys(c, logger); err != nil {
		return nil, err
	}
	if k.access, err = token.NewIssuer(k.keys, c.Issuer, c.Audience, now); err != nil {
		return nil, err
	}
	if k.secrets, err = openSecrets(c, logger); err != nil {
		return nil, err
	}
	k.inForce = k.secrets
	if k.refresh, err = token.NewRefreshKeys(tokenSecrets(k.secrets), now); err != nil {
		return nil, err
	}
	return k, nil
}

// follow reloads at every tick and hangup until the context ends.
func (k *keyring) follow(ctx context.Context, ticks <-chan time.Time, hangups <-chan os.Signal) {
	for {
		select {
		case <-ticks:
		case <-hangups:
		case <-ctx.Done():
			return
		}
		k.reload(ctx)
	}
}

// reload takes over what has changed in the files. Where they have a fault, what was in force stays in force, and the
// fault is told once. The files are small, so they are read each time: times of files are too coarse to go by.
func (k *keyring) reload(ctx context.Context) {
	newKeys, keysErr := k.reloadKeys()
	newSecrets, secretsErr := k.reloadSecrets()
	if newKeys || newSecrets {
		kids := make([]string, len(k.keys))
		for i, key := range k.keys {
			kids[i] = key.ID
		}
		k.logger.Info("keys loaded", "kids", kids, "signs", k.keys.Signer(k.now()).ID, "refresh_secrets", len(k.inForce))
		k.audit.Record(ctx, audit.Event{Action: audit.KeyChange, Result: "loaded"})
	}
	fault := ""
	if err := errors.Join(keysErr, secretsErr); err != nil {
		fault = err.Error()
	}
	if fault == k.fault {
		return
	}
	if k.fault = fault; fault == "" {
		k.stale.Set(0)
		k.logger.Info("the keys are in order again")
	} else {
		k.stale.Set(1)
		k.logger.Error("keys not loaded: the server goes on with those that it has", "error", fault)
		k.audit.Record(ctx, audit.Event{Action: audit.KeyChange, Result: "refused"})
	}
}

func (k *keyring) reloadKeys() (changed bool, err error) {
	keys, err := token.LoadKeys(k.config.KeysDir)
	if err != nil {
		return false, err
	}
	same := func(a, b token.Key) bool { return a.ID == b.ID && a.SignsFrom.Equal(b.SignsFrom) }
	if slices.EqualFunc(keys, k.keys, same) {
		return false, nil
	}
	if err := k.access.SetKeys(keys); err != nil {
		return false, err
	}
	k.keys = keys
	return true, nil
}

// reloadSecrets makes a secret without a time that comes to a running server wait: another server that does not know it
// yet would refuse the sessions that began with it.
func (k *keyring) reloadSecrets() (changed bool, err error) {
	secrets, err := loadSecrets(k.config)
	if err != nil || slices.Equal(secrets, k.secrets) {
		return false, err
	}
	inForce := slices.Clone(secrets)
	for i, secret := range inForce {
		if !secret.UsedFrom.IsZero() {
			continue
		}
		known := slices.IndexFunc(k.inForce, func(s config.RefreshSecret) bool { return s.Value == secret.Value })
		if known >= 0 {
			inForce[i].UsedFrom = k.inForce[known].UsedFrom
		} else {
			inForce[i].UsedFrom = k.now().Add(rotationLead)
		}
	}
	if err := k.refresh.SetSecrets(tokenSecrets(inForce)); err != nil {
		return false, err
	}
	k.secrets, k.inForce = secrets, inForce
	return true, nil
}

// openKeys loads the signing keys. In development the first start makes one; in production a folder without any is a
// mistake, for instance a volume that was not mounted, and a new key would make every other service refuse our tokens.
func openKeys(c *config.Config, logger *slog.Logger) (token.Keys, error) {
	keys, err := token.LoadKeys(c.KeysDir)
	if err == nil {
		return keys, nil
	}
	if !errors.Is(err, token.ErrNoKeys) {
		return nil, err
	}
	if c.Production {
		return nil, fmt.Errorf("%w: mount the folder that LATCHKEY_KEYS_DIR names, or make the first key with `latchkey keys rotate`", err)
	}
	// The first key signs from ever: so it has one name, and of two first starts at once one makes it and both have it.
	key, err := token.NewKey(time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	switch err := key.Save(c.KeysDir); {
	case err == nil:
		logger.Info("made the first signing key", "folder", c.KeysDir)
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return token.LoadKeys(c.KeysDir)
}

// openSecrets returns the settings' refresh secrets, or the one that the first start in development makes.
func openSecrets(c *config.Config, logger *slog.Logger) ([]config.RefreshSecret, error) {
	secrets, err := loadSecrets(c)
	if !errors.Is(err, fs.ErrNotExist) || c.RefreshSecretFile != "" {
		return secrets, err
	}
	fresh := config.FormatRefreshSecrets([]config.RefreshSecret{{Value: config.Secret(token.NewSecret())}})
	switch err := token.WriteSecret(c.KeysDir, refreshSecretFile, []byte(fresh)); {
	case err == nil:
		logger.Info("made the refresh secret", "folder", c.KeysDir)
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return loadSecrets(c)
}

// secretsFile names the file of the refresh secrets, or is errSecretsInEnvironment or errSecretsInPipe.
func secretsFile(c *config.Config) (string, error) {
	switch {
	case c.RefreshSecretFile != "":
		if info, err := os.Stat(c.RefreshSecretFile); err == nil && !info.Mode().IsRegular() {
			return "", errSecretsInPipe
		}
		return c.RefreshSecretFile, nil
	case len(c.RefreshSecrets) > 0:
		return "", errSecretsInEnvironment
	default:
		return filepath.Join(c.KeysDir, refreshSecretFile), nil
	}
}

// loadSecrets reads the refresh secrets anew, wherever they are, without making any.
func loadSecrets(c *config.Config) ([]config.RefreshSecret, error) {
	file, err := secretsFile(c)
	if errors.Is(err, errSecretsInEnvironment) || errors.Is(err, errSecretsInPipe) {
		return c.RefreshSecrets, nil
	}
	read := token.ReadSecret
	if file == c.RefreshSecretFile {
		read = os.ReadFile // who may read it is the operator's choice: what hands out secrets often gives them other modes
	}
	text, err := read(file)
	if err != nil {
		return nil, fmt.Errorf("refresh secret %s: %w", file, err)
	}
	secrets, err := config.ParseRefreshSecrets(string(text))
	if err != nil {
		return nil, fmt.Errorf("refresh secret %s: %w: restore it from a backup, for with another one all sessions are over", file, err)
	}
	return secrets, nil
}

func tokenSecrets(secrets []config.RefreshSecret) []token.RefreshSecret {
	list := make([]token.RefreshSecret, len(secrets))
	for i, secret := range secrets {
		list[i] = token.RefreshSecret{Value: []byte(secret.Value), UsedFrom: secret.UsedFrom}
	}
	return list
}
