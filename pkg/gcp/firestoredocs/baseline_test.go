package firestoredocs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	admin "cloud.google.com/go/firestore/apiv1/admin"
	"cloud.google.com/go/firestore/apiv1/admin/adminpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"codexgateway.dev/pkg/docstore"
)

// errCan means that the emulator can do what the baseline says it cannot.
var errCan = errors.New("the emulator can: test it there, and take this off the baseline")

// What the emulator does otherwise than the service, and so no test on it shows.
// Each entry fails when the emulator begins to behave like the service.
var baseline = []struct {
	what, instead string
	still         func(t *testing.T, addr string) error
}{
	{
		"a query without its composite index fails", "TestAMissingIndexIsNamedUntilItIsThere, on a fake",
		func(t *testing.T, _ string) error {
			t.Helper()
			_, err := open(t, fakeSchema).Query(t.Context(), byRank(1))
			if errors.Is(err, docstore.ErrUnavailable) {
				return errCan
			}
			return err
		},
	},
	{
		"a TTL policy deletes documents past their expire_time", "TestACommitOnTheWire shows the timestamp, TestDeclarationsOnTheWire the policy",
		func(t *testing.T, addr string) error {
			t.Helper()
			return unimplemented(t, addr, func(ctx context.Context, c *admin.FirestoreAdminClient) error {
				_, err := c.UpdateField(ctx, &adminpb.UpdateFieldRequest{Field: &adminpb.Field{
					Name:      "projects/p/databases/(default)/collectionGroups/things/fields/expire_time",
					TtlConfig: &adminpb.Field_TtlConfig{},
				}})
				return err
			})
		},
	},
	{
		"indexes can be created and listed", "TestDeclarationsOnTheWire",
		func(t *testing.T, addr string) error {
			t.Helper()
			return unimplemented(t, addr, func(ctx context.Context, c *admin.FirestoreAdminClient) error {
				_, err := c.ListIndexes(ctx, &adminpb.ListIndexesRequest{
					Parent: "projects/p/databases/(default)/collectionGroups/things",
				}).Next()
				return err
			})
		},
	},
	{
		"a commit of over 4 MiB is taken", "the suite's largest commit is smaller here, and of 8 MiB on the embedded platform",
		func(t *testing.T, _ string) error {
			t.Helper()
			writes := make([]docstore.Write, 0, 5)
			for i := range cap(writes) {
				writes = append(writes, docstore.Write{
					Op: docstore.Create, Key: thing(fmt.Sprint(i)), Data: bytes.Repeat([]byte("x"), docstore.MaxDocBytes),
				})
			}
			if _, err := open(t, fakeSchema).Commit(t.Context(), writes); err == nil {
				return errCan
			}
			return nil
		},
	},
}

func TestTheBaselineOfTheEmulatorIsStillNeeded(t *testing.T) {
	t.Parallel()
	addr := cloud.Firestore(t)
	for _, b := range baseline {
		if err := b.still(t, addr); err != nil {
			t.Errorf("%s: %v", b.what, err)
		}
		t.Logf("not shown on the emulator: %s; instead: %s", b.what, b.instead)
	}
}

func unimplemented(t *testing.T, addr string, call func(context.Context, *admin.FirestoreAdminClient) error) error {
	t.Helper()
	c, err := admin.NewFirestoreAdminClient(t.Context(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := call(t.Context(), c); status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("%w (%w)", errCan, err)
	}
	return nil
}
