<?php

// Debian's Twig (Aptfile); another app would say: require __DIR__ . '/../vendor/autoload.php';
require_once 'Twig/autoload.php';

$twig = new \Twig\Environment(new \Twig\Loader\ArrayLoader(['page' => "Hello from PHP {{ version }} ({{ sapi }})\n"]));
echo $twig->render('page', ['version' => PHP_VERSION, 'sapi' => PHP_SAPI]);
