<?php
// Sends one request by the stream of a portal, and waits until Matricule says that it was accepted.
// php send.php KIND KEY BODY: with php-redis if it is loaded and USE_PREDIS is not set, else with predis.
// The values of `matricule portal create NAME --queue` are in the environment: PORTAL_NAME, PORTAL_KEY_ID,
// PORTAL_QUEUE_SECRET, REDIS_SOCKET (or REDIS_HOST and REDIS_PORT), and REDIS_USER and REDIS_PASSWORD if Redis asks.
declare(strict_types=1);

[, $kind, $key, $body] = $argv;
$portal = getenv('PORTAL_NAME');
$keyId = getenv('PORTAL_KEY_ID');
$namespace = getenv('REDIS_NAMESPACE') ?: 'matricule';

// Signed are seven lines and then the body, as the very bytes that are sent.
$sentAt = (string) time();
$signed = implode("\n", ['matricule-queue-v1', $portal, $keyId, $kind, '1', $key, $sentAt]) . "\n" . $body;
$mac = hash_hmac('sha256', $signed, getenv('PORTAL_QUEUE_SECRET'), true);
$entry = [
    'kind' => $kind,
    'version' => '1',
    'key' => $key,
    'key_id' => $keyId,
    'sent_at' => $sentAt,
    'signature' => 'v1,' . base64_encode($mac),
    'body' => $body,
];

// XADD answers the identifier of the entry. An error means: not sent. Sent is not accepted: repeat under the same key.
$user = getenv('REDIS_USER') ?: null;
$password = getenv('REDIS_PASSWORD') ?: null;
if (extension_loaded('redis') && !getenv('USE_PREDIS')) {
    $redis = new Redis();
    getenv('REDIS_SOCKET')
        ? $redis->connect(getenv('REDIS_SOCKET'))
        : $redis->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'));
    if ($password !== null) {
        $redis->auth([$user, $password]);
    }
    $id = $redis->xAdd("$namespace:stream:$portal", '*', $entry);
    $read = fn (string $after) => $redis->xRead(["$namespace:answers:$portal" => $after], 100, 1000);
} else {
    require_once 'Predis/autoload.php'; // of Debian; with Composer: vendor/autoload.php
    $where = getenv('REDIS_SOCKET')
        ? ['scheme' => 'unix', 'path' => getenv('REDIS_SOCKET')]
        : ['scheme' => 'tcp', 'host' => getenv('REDIS_HOST'), 'port' => (int) getenv('REDIS_PORT')];
    $redis = new Predis\Client($where);
    if ($password !== null) {
        $redis->executeRaw(['AUTH', $user, $password]);
    }
    $fields = [];
    foreach ($entry as $name => $value) {
        array_push($fields, $name, $value);
    }
    $id = $redis->executeRaw(['XADD', "$namespace:stream:$portal", '*', ...$fields]);
    $read = function (string $after) use ($redis, $namespace, $portal): array {
        $stream = "$namespace:answers:$portal";
        $found = $redis->executeRaw(['XREAD', 'COUNT', '100', 'BLOCK', '1000', 'STREAMS', $stream, $after]);
        $answers = [];
        foreach ($found[0][1] ?? [] as [$place, $told]) {
            $answers[$place] = array_column(array_chunk($told, 2), 1, 0);
        }
        return [$stream => $answers];
    };
}
if (!is_string($id) || !preg_match('/^\d+-\d+$/', $id)) {
    fwrite(STDERR, "not sent: repeat it under the same key\n");
    exit(1);
}

// The answers of this portal, oldest first; each names the entry and the key. Keep the place to go on from there.
$place = '0-0';
for ($tries = 0; $tries < 30; $tries++) {
    foreach (($read($place) ?: [])["$namespace:answers:$portal"] ?? [] as $place => $answer) {
        if ($answer['entry'] === $id) {
            echo json_encode($answer), "\n";
            exit(0);
        }
    }
}
fwrite(STDERR, "no answer yet: repeat it under the same key\n");
exit(1);
