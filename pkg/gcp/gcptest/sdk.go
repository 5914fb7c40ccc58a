package gcptest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoEmulators means that this machine has no Google Cloud SDK with the two
// emulators, or no Java to run them.
var ErrNoEmulators = errors.New("gcptest: no emulators: install the Google Cloud SDK with " +
	"`gcloud components install pubsub-emulator cloud-firestore-emulator`, and Java 17 or newer")

// sdk is where an installed SDK keeps the emulators.
type sdk struct {
	java string
	// jars by kind.
	jars map[Kind]string
}

// findSDK follows gcloud on the PATH to its installation. The emulators are
// started without gcloud itself: it would take seconds and leave its Java child
// behind when it is killed.
func findSDK() (*sdk, error) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		return nil, fmt.Errorf("%w: gcloud is not on the PATH", ErrNoEmulators)
	}
	if gcloud, err = filepath.EvalSymlinks(gcloud); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoEmulators, err)
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("%w: java is not on the PATH", ErrNoEmulators)
	}
	platform := filepath.Join(filepath.Dir(filepath.Dir(gcloud)), "platform")
	// The name of this one carries its version.
	jars, err := filepath.Glob(filepath.Join(platform, "pubsub-emulator", "lib", "cloud-pubsub-emulator-*.jar"))
	if err != nil || len(jars) == 0 {
		return nil, fmt.Errorf("%w: no Pub/Sub emulator in %s", ErrNoEmulators, platform)
	}
	found := &sdk{java: java, jars: map[Kind]string{
		PubSub:    jars[len(jars)-1],
		Firestore: filepath.Join(platform, "cloud-firestore-emulator", "cloud-firestore-emulator.jar"),
	}}
	if _, err := os.Stat(found.jars[Firestore]); err != nil {
		return nil, fmt.Errorf("%w: no Firestore emulator in %s", ErrNoEmulators, platform)
	}
	return found, nil
}

// command is the emulator's command line. An emulator lives for some minutes
// beside what is tested: the second compiler and threads that collect garbage
// would take more of a small machine than they give back.
func (s *sdk) command(kind Kind, host, port string) []string {
	java := []string{s.java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}
	if kind == Firestore {
		return append(java, "-Duser.language=en", "-cp", s.jars[kind], "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
			"start", "--host="+host, "--port="+port)
	}
	return append(java, "-jar", s.jars[kind], "--host="+host, "--port="+port)
}
